from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voicefork_sdk.events import PlayState
from voicefork_sdk.model import PlayStatus
from voicefork_sdk.playout import Playout


@pytest.fixture
def playout() -> Playout:
    return Playout(ahead_ms=1000)


def test_what_was_sent_takes_room_until_it_is_played(playout: Playout) -> None:
    playout.sent("a", 800, last=False)
    assert (playout.has_room(200), playout.has_room(201)) == (True, False)
    playout.received(PlayState("a", PlayStatus.PROGRESS, played_ms=500))
    assert (playout.has_room(700), playout.has_room(701)) == (True, False)


def test_a_piece_longer_than_the_buffer_goes_alone(playout: Playout) -> None:
    assert playout.has_room(5000)
    playout.sent("a", 1, last=False)
    assert not playout.has_room(5000)


def test_what_is_for_the_human_alone_takes_no_room_of_the_callers(playout: Playout) -> None:
    playout.sent("aside", 1000, last=False, aside=True)
    assert playout.has_room(1000)
    assert not playout.has_room(1, aside=True)
    playout.sent("a", 1000, last=False)
    playout.received(PlayState("aside", PlayStatus.PROGRESS, played_ms=600))
    assert playout.has_room(600, aside=True)


def test_a_freeze_leaves_what_is_for_the_human_alone(playout: Playout) -> None:
    for name in ("a", "phrase"):
        playout.sent(name, 100, last=False)
    playout.sent("aside", 100, last=False, aside=True)
    assert playout.others_than("phrase") == ("a",)


def test_a_finished_utterance_takes_no_room(playout: Playout) -> None:
    playout.sent("a", 800, last=True)
    finished = PlayState("a", PlayStatus.FINISHED, played_ms=800)
    playout.received(finished)
    assert (playout.queued_ms, playout.ending("a")) == (0, finished)


def test_a_starved_utterance_has_nothing_queued(playout: Playout) -> None:
    playout.sent("a", 800, last=False)
    playout.received(PlayState("a", PlayStatus.STARVED, played_ms=790))
    assert playout.queued_ms == 0


def test_the_rest_of_a_cut_utterance_is_not_wanted(playout: Playout) -> None:
    playout.sent("a", 800, last=False)
    playout.received(PlayState("a", PlayStatus.CUT, played_ms=100))
    assert playout.is_cut("a")
    playout.skipped("a", last=True)
    assert not playout.is_cut("a")


def test_an_utterance_cleared_before_it_was_played_ends_cut(playout: Playout) -> None:
    playout.sent("a", 800, last=True)
    playout.cut(["a"])
    assert playout.ending("a") == PlayState("a", PlayStatus.CUT)


def test_clearing_one_leaves_the_others(playout: Playout) -> None:
    playout.sent("a", 300, last=True)
    playout.sent("b", 300, last=True)
    playout.cut(["a"])
    assert playout.queued_ms == 300


def test_an_id_used_again_is_a_new_utterance(playout: Playout) -> None:
    playout.sent("a", 300, last=True)
    playout.received(PlayState("a", PlayStatus.FINISHED))
    playout.sent("a", 300, last=False)
    assert playout.ending("a") is None


NAMES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sent"), NAMES, st.integers(0, 500)),
        st.tuples(st.just("cut"), NAMES, st.just(0)),
        st.tuples(st.sampled_from(PlayStatus), NAMES, st.integers(0, 5000)),
    )
)


@given(STEPS)
def test_no_history_makes_the_queue_negative(
    steps: list[tuple[str | PlayStatus, str, int]],
) -> None:
    playout = Playout(ahead_ms=1000)
    for step, name, number in steps:
        match step:
            case PlayStatus():
                playout.received(PlayState(name, step, played_ms=number))
            case "sent":
                playout.sent(name, number, last=number % 2 == 0)
            case _:
                playout.cut([name])
        assert playout.queued_ms >= 0
