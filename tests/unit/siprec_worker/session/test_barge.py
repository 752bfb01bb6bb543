"""The caller speaks while the bot does: each utterance has its rule."""

from __future__ import annotations

import pytest
from siprec_worker.media.model import PlayStatus
from siprec_worker.media.playout import LONGEST_PAUSE_MS, Playout
from siprec_worker.session.barge import barge_in, judge
from siprec_worker.session.model import NARROWBAND, Barge, BargeVerdict

SILENCE = b"\xff" * 160
SECOND = b"\x00\x10" * 8000


def playing(*rules: Barge) -> Playout:
    """A bot that has begun the first of its utterances "0", "1", ... of a second each."""
    playout = Playout(NARROWBAND, lead_in_ms=0)
    for number, rule in enumerate(rules):
        playout.speak(str(number), SECOND, last=True, barge=rule)
    playout.frame()
    playout.events()
    return playout


def told(playout: Playout) -> list[tuple[str, PlayStatus]]:
    return [(state.utterance_id, state.status) for state in playout.events()]


def test_auto_clear_drops_all_that_may_be_dropped() -> None:
    playout = playing(Barge.AUTO_CLEAR, Barge.AUTO_CLEAR, Barge.NOT_INTERRUPTIBLE)
    barge_in(playout)
    playout.frame()  # the fade
    assert playout.frame() != SILENCE  # the notice that has to be heard
    assert told(playout) == [
        ("0", PlayStatus.CUT),
        ("1", PlayStatus.CUT),
        ("2", PlayStatus.STARTED),
    ]


@pytest.mark.parametrize("rule", [Barge.UNSPECIFIED, Barge.NOTIFY_ONLY, Barge.NOT_INTERRUPTIBLE])
def test_other_rules_let_the_bot_speak_on(rule: Barge) -> None:
    playout = playing(rule, Barge.AUTO_CLEAR)
    barge_in(playout)
    assert playout.frame() != SILENCE
    assert told(playout) == []


def test_pause_and_ask_waits_for_the_verdict_and_goes_on() -> None:
    playout = playing(Barge.PAUSE_AND_ASK)
    left = playout.queued_ms
    barge_in(playout)
    assert [playout.frame() for _ in range(20)] == [SILENCE] * 20
    judge(playout, BargeVerdict("0", False))
    assert playout.queued_ms == left
    assert playout.frame() != SILENCE


def test_pause_and_ask_drops_what_the_verdict_drops() -> None:
    playout = playing(Barge.PAUSE_AND_ASK, Barge.PAUSE_AND_ASK)
    barge_in(playout)
    judge(playout, BargeVerdict("0", True))
    assert playout.frame() != SILENCE
    assert told(playout) == [("0", PlayStatus.CUT), ("1", PlayStatus.STARTED)]


def test_an_ai_that_never_answers_leaves_no_silence_for_ever() -> None:
    playout = playing(Barge.PAUSE_AND_ASK)
    barge_in(playout)
    frames = [playout.frame() for _ in range(LONGEST_PAUSE_MS // 20 + 1)]
    assert frames[:-1] == [SILENCE] * (LONGEST_PAUSE_MS // 20)
    assert frames[-1] != SILENCE


def test_a_late_verdict_still_drops() -> None:
    playout = playing(Barge.PAUSE_AND_ASK)
    judge(playout, BargeVerdict("0", True))
    assert playout.idle


def test_the_phrase_before_a_handoff_is_spared() -> None:
    playout = playing(Barge.AUTO_CLEAR)
    playout.freeze("0")
    barge_in(playout)
    assert playout.frame() != SILENCE


def test_speech_before_the_bot_has_begun_drops_nothing() -> None:
    playout = Playout(NARROWBAND)
    playout.speak("0", SECOND, barge=Barge.AUTO_CLEAR)
    barge_in(playout)
    assert playout.queued_ms == 1000
