"""The rules of voicefork.agent.v1 as checks over the record of a call. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from voicefork.agent.v1 import agent_pb2 as pb

from voicefork_sdk.conformance.record import Received, Record
from voicefork_sdk.model import AudioFormat
from voicefork_sdk.wire import read_format

OPENED_SECONDS = 3.0
_ACK_SECONDS = 0.5
_ACK_SLACK_SECONDS = 0.5  # scheduling and network on top of the contract's 500 ms
_CLOSE_SECONDS = 3.0
_IN_FLIGHT_SECONDS = 0.5  # what was sent before our message could be read
_MAX_SPEAK_BYTES = 128 * 1024


class Result(Enum):
    PASS = "pass"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Verdict:
    rule: str
    result: Result
    facts: str
    advice: str = ""


Check = Callable[[Record], Verdict]


def opened_in_time(record: Record) -> Verdict:
    rule = f"Opened is the first answer, within {OPENED_SECONDS:g} s"
    advice = "send Opened at once, and load models before serving"
    if not record.received:
        return Verdict(rule, Result.FAIL, f"nothing came; status {record.status}", advice)
    first = record.received[0]
    kind = first.message.WhichOneof("message")
    if kind != "opened":
        return Verdict(rule, Result.FAIL, f"the first answer is {kind}", advice)
    if first.at > OPENED_SECONDS:
        return Verdict(rule, Result.FAIL, f"after {first.at:.2f} s", advice)
    return Verdict(rule, Result.PASS, f"after {first.at * 1000:.0f} ms")


def formats_were_offered(record: Record) -> Verdict:
    rule = "Opened chooses formats and legs that exist"
    opened = record.opened
    if opened is None:
        return Verdict(rule, Result.SKIP, "no Opened")
    wrong = []
    offered = [read_format(one) for one in record.offer.downlink_choices]
    if opened.HasField("downlink") and read_format(opened.downlink) not in offered:
        wrong.append(f"downlink {_name(read_format(opened.downlink))} was not offered")
    if opened.uplink.sample_rate not in (0, 8000, 16000, 24000):
        wrong.append(f"uplink at {opened.uplink.sample_rate} Hz")
    if opened.uplink.chunk_ms and not 20 <= opened.uplink.chunk_ms <= 200:  # noqa: PLR2004
        wrong.append(f"chunk_ms {opened.uplink.chunk_ms}")
    unknown = set(opened.legs) - {leg.handle for leg in record.offer.legs}
    wrong += [f"leg {handle} does not exist" for handle in sorted(unknown)]
    if wrong:
        advice = "leave a field of Opened unset to take what Open proposes"
        return Verdict(rule, Result.FAIL, "; ".join(wrong), advice)
    chosen = f"hears {_name(uplink(record))}, speaks {_name(downlink(record))}"
    return Verdict(rule, Result.PASS, chosen)


def seq_counts_by_one(record: Record) -> Verdict:
    rule = "seq counts from 1, by one"
    numbers = [one.message.seq for one in record.received]
    if numbers == list(range(1, len(numbers) + 1)):
        return Verdict(rule, Result.PASS, f"{len(numbers)} messages")
    return Verdict(rule, Result.FAIL, f"{numbers[:6]}...", "number every ConverseResponse")


def audio_is_acknowledged(record: Record) -> Verdict:
    rule = "audio is acknowledged every 500 ms, or no_ack"
    advice = "send Ack{seq, pts} every 250-500 ms of audio: without it the audio is shed"
    if record.opened is not None and record.opened.no_ack:
        return Verdict(rule, Result.SKIP, "no_ack was agreed")
    audio = record.sent_of_kind("audio")
    acks = record.of_kind("ack")
    if not audio:
        return Verdict(rule, Result.SKIP, "no audio was sent")
    if not acks:
        return Verdict(rule, Result.FAIL, "no Ack came", advice)
    numbers = [one.message.ack.seq for one in acks]
    if numbers != sorted(numbers) or numbers[-1] > record.sent[-1].message.seq:
        return Verdict(rule, Result.FAIL, f"seq goes back or beyond what was sent: {numbers[:6]}")
    times = [audio[0].at, *(one.at for one in acks), audio[-1].at]
    longest = max(late - early for early, late in pairwise(times))
    if longest > _ACK_SECONDS + _ACK_SLACK_SECONDS:
        return Verdict(rule, Result.FAIL, f"{longest:.2f} s without an Ack", advice)
    return Verdict(rule, Result.PASS, f"{len(acks)} acks, at most {longest * 1000:.0f} ms apart")


def speech_is_well_formed(record: Record) -> Verdict:
    rule = "Speak holds whole samples, an id, at most 128 KiB"
    spoken = record.of_kind("speak")
    if not spoken:
        return Verdict(rule, Result.SKIP, "the agent said nothing", "play it something: --audio")
    width = downlink(record).bytes_per_sample
    for number, one in enumerate(spoken, 1):
        speak = one.message.speak
        if not speak.utterance_id or len(speak.data) % width or len(speak.data) > _MAX_SPEAK_BYTES:
            facts = f"Speak {number}: id {speak.utterance_id!r}, {len(speak.data)} bytes"
            return Verdict(rule, Result.FAIL, facts, "cut the audio at sample borders")
    return Verdict(rule, Result.PASS, f"{len(spoken)} pieces, {_spoken_ms(record, spoken):.0f} ms")


def nothing_is_said_before_the_answer(record: Record) -> Verdict:
    rule = "nothing is said before CallState ANSWERED"
    answered = record.answered_at
    early = [one for one in record.of_kind("speak") if answered is None or one.at < answered]
    if early:
        advice = "wait for CallState ANSWERED: before it the caller hears ringing"
        return Verdict(rule, Result.FAIL, f"{len(early)} pieces too early", advice)
    return Verdict(rule, Result.PASS, "")


def a_cut_utterance_stops(record: Record) -> Verdict:
    rule = "an utterance reported CUT is not continued"
    cuts = [
        one
        for one in record.sent_of_kind("play_state")
        if one.message.play_state.state == pb.PlayState.STATE_CUT
    ]
    if not cuts:
        advice = "let it speak for longer, play it something (--audio), or vary --seconds"
        return Verdict(rule, Result.SKIP, "nothing was being said half-way", advice)
    cut = cuts[0]
    name = cut.message.play_state.utterance_id
    after = _later(record.of_kind("speak"), cut.at + _IN_FLIGHT_SECONDS)
    late = [one for one in after if one.message.speak.utterance_id == name]
    if late:
        facts = f"{len(late)} more pieces of {name!r}"
        return Verdict(rule, Result.FAIL, facts, "stop sending at PlayState CUT; take a new id")
    return Verdict(rule, Result.PASS, f"{name!r}")


def freeze_is_respected(record: Record) -> Verdict:
    rule = "nothing is said after Freeze"
    freezes = record.sent_of_kind("freeze")
    if not freezes:
        return Verdict(rule, Result.SKIP, "no Freeze was sent")
    late = _later(record.of_kind("speak"), freezes[0].at + _IN_FLIGHT_SECONDS)
    if late:
        advice = "the caller is on the way to a human: stop generating at Freeze"
        return Verdict(rule, Result.FAIL, f"{len(late)} pieces", advice)
    return Verdict(rule, Result.PASS, "")


def the_stream_ends_after_close(record: Record) -> Verdict:
    rule = f"the stream ends within {_CLOSE_SECONDS:g} s of Close, status OK"
    advice = "return from Converse when Close or the end of the requests arrives"
    if record.closed_at is None:
        return Verdict(rule, Result.FAIL, f"ended by itself: {record.status}", advice)
    if record.ended_at is None or record.ended_at - record.closed_at > _CLOSE_SECONDS:
        return Verdict(rule, Result.FAIL, "still open", advice)
    if record.status != "OK":
        return Verdict(rule, Result.FAIL, f"status {record.status}", advice)
    return Verdict(rule, Result.PASS, f"after {(record.ended_at - record.closed_at) * 1000:.0f} ms")


def a_shadow_is_silent(record: Record) -> Verdict:
    rule = "a SHADOW neither speaks nor escalates"
    kinds = [kind for kind in ("speak", "escalate", "hang_up", "clear") if record.of_kind(kind)]
    if kinds:
        advice = "look at Open.role: SHADOW only listens"
        return Verdict(rule, Result.FAIL, f"sent {', '.join(kinds)}", advice)
    if record.status != "OK":
        return Verdict(rule, Result.FAIL, f"status {record.status}", "serve a SHADOW like any call")
    return Verdict(rule, Result.PASS, "")


PRIMARY_CHECKS: tuple[Check, ...] = (
    opened_in_time,
    formats_were_offered,
    seq_counts_by_one,
    audio_is_acknowledged,
    nothing_is_said_before_the_answer,
    speech_is_well_formed,
    a_cut_utterance_stops,
    freeze_is_respected,
    the_stream_ends_after_close,
)
SHADOW_CHECKS: tuple[Check, ...] = (a_shadow_is_silent,)


def uplink(record: Record) -> AudioFormat:
    """What the agent hears in this call."""
    opened = record.opened
    chosen = opened.uplink if opened is not None and opened.uplink.encoding else record.offer.uplink
    return read_format(chosen)


def downlink(record: Record) -> AudioFormat:
    """What the agent speaks in this call."""
    opened = record.opened
    if opened is not None and opened.HasField("downlink"):
        return read_format(opened.downlink)
    return read_format(record.offer.downlink_choices[0])


def _spoken_ms(record: Record, spoken: list[Received]) -> float:
    return downlink(record).duration_ms(sum(len(one.message.speak.data) for one in spoken))


def _later(messages: list[Received], at: float) -> list[Received]:
    return [one for one in messages if one.at > at]


def _name(audio_format: AudioFormat) -> str:
    return f"{audio_format.encoding.name} {audio_format.sample_rate} Hz"
