from __future__ import annotations

import pytest
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.conformance import checks
from voicefork_sdk.conformance.__main__ import offer, table
from voicefork_sdk.conformance.checks import Result, Verdict
from voicefork_sdk.conformance.record import Received, Record, Sent


class Story:
    """Builds the record of a call, message by message."""

    def __init__(self) -> None:
        self.record = Record(offer(pb.ROLE_PRIMARY), status="OK")

    def sent(self, at: float, **message: object) -> Story:
        seq = len(self.record.sent) + 1
        self.record.sent.append(
            Sent(at, pb.ConverseRequest(seq=seq, **message))  # type: ignore[arg-type]
        )
        return self

    def got(self, at: float, **message: object) -> Story:
        seq = len(self.record.received) + 1
        self.record.received.append(
            Received(at, pb.ConverseResponse(seq=seq, **message))  # type: ignore[arg-type]
        )
        return self

    def ended(self, at: float, status: str = "OK") -> Story:
        self.record.ended_at, self.record.status = at, status
        return self


ANSWERED = pb.CallState(state=pb.CallState.STATE_ANSWERED)
CUT = pb.PlayState(utterance_id="a", state=pb.PlayState.STATE_CUT)
CLOSE = pb.Close(reason=pb.Close.REASON_CALL_ENDED)
PIECE = pb.Speak(utterance_id="a", data=bytes(320))


def story() -> Story:
    return Story().sent(0, open=offer(pb.ROLE_PRIMARY)).got(0.1, opened=pb.Opened())


def test_a_call_by_the_rules_passes_everything() -> None:
    told = story().sent(0.2, audio=pb.Audio()).got(0.6, ack=pb.Ack(seq=2))
    told.sent(0.8, call_state=ANSWERED).got(1, speak=PIECE).sent(1.1, play_state=CUT)
    told.sent(1.2, audio=pb.Audio()).sent(1.3, freeze=pb.Freeze()).sent(2, close=CLOSE).ended(2.1)
    results = {one(told.record).rule: one(told.record).result for one in checks.PRIMARY_CHECKS}
    assert set(results.values()) == {Result.PASS}


WRONG = [
    (checks.opened_in_time, Story().ended(4, "UNAVAILABLE")),
    (checks.opened_in_time, Story().got(3.5, opened=pb.Opened())),
    (checks.opened_in_time, Story().got(0.1, ack=pb.Ack())),
    (checks.formats_were_offered, Story().got(0, opened=pb.Opened(legs=[7]))),
    (
        checks.formats_were_offered,
        Story().got(0, opened=pb.Opened(downlink=pb.AudioFormat(sample_rate=44100))),
    ),
    (checks.audio_is_acknowledged, story().sent(0.2, audio=pb.Audio())),
    (
        checks.audio_is_acknowledged,
        story().sent(0, audio=pb.Audio()).got(1.5, ack=pb.Ack(seq=2)).sent(2, audio=pb.Audio()),
    ),
    (
        checks.audio_is_acknowledged,
        story().sent(0, audio=pb.Audio()).got(0.1, ack=pb.Ack(seq=99)),
    ),
    (checks.speech_is_well_formed, story().got(1, speak=pb.Speak(data=bytes(2)))),
    (checks.speech_is_well_formed, story().got(1, speak=pb.Speak(utterance_id="a", data=b"\0"))),
    (
        checks.nothing_is_said_before_the_answer,
        story().got(0.5, speak=PIECE).sent(1, call_state=ANSWERED),
    ),
    (checks.a_cut_utterance_stops, story().sent(1, play_state=CUT).got(2, speak=PIECE)),
    (checks.freeze_is_respected, story().sent(1, freeze=pb.Freeze()).got(2, speak=PIECE)),
    (checks.the_stream_ends_after_close, story().sent(1, close=CLOSE)),
    (checks.the_stream_ends_after_close, story().sent(1, close=CLOSE).ended(9)),
    (checks.the_stream_ends_after_close, story().sent(1, close=CLOSE).ended(1, "INTERNAL")),
    (checks.the_stream_ends_after_close, story().ended(1)),
    (checks.a_shadow_is_silent, story().got(1, speak=PIECE)),
    (checks.a_shadow_is_silent, story().ended(1, "INTERNAL")),
]


@pytest.mark.parametrize(("check", "told"), WRONG)
def test_what_breaks_a_rule_fails_it(check: checks.Check, told: Story) -> None:
    assert check(told.record).result is Result.FAIL


def test_a_gap_in_seq_fails() -> None:
    told = story()
    told.record.received.append(Received(1, pb.ConverseResponse(seq=5, ack=pb.Ack())))
    assert checks.seq_counts_by_one(told.record).result is Result.FAIL


def test_the_table_shows_advice_for_what_failed() -> None:
    text = table([Verdict("rule", Result.FAIL, "facts", "do this"), Verdict("r", Result.PASS, "")])
    assert text == "FAIL  rule  facts\n      -> do this\npass  r\n1 of 2 kept\n"
