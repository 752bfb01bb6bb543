"""What the AIs say to the agent alone: whole, in order, bounded, counted; and who hears it when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.errors import PbxError
from orchestrator.handoff import names
from orchestrator.handoff.asides import MOST_SECONDS, STALL_SECONDS, Asides, Piece, Spoken
from orchestrator.handoff.narrator import SPOKEN_SECONDS
from orchestrator.handoff.ports import ChannelGone, Sound, Unspoken
from orchestrator.handoff.refusals import (
    NoSpeech,
    NotSaid,
    OtherTenant,
    TooLate,
    UnknownHandoff,
    WhispersWaiting,
)
from orchestrator.handoff.whisperer import WAITING
from orchestrator.model import ChannelId, Context, Handoff, HandoffId, Pattern, Phase

from tests.builders.handoffs import ALICE, BOB
from tests.builders.running import CALL, Lab, running
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import Counts
from tests.fakes.telephony import Phone

SECOND = bytes(16_000)
WHISPER: dict[str, Any] = {"pattern": Pattern.WARM_WHISPER, "targets": (ALICE,)}


class Letters:
    """Says a text as its letters."""

    async def render(self, text: str) -> Sound:
        return Sound(text.encode(), 16000)


def piece(  # noqa: PLR0913 - the fields of the message
    name: str = "u",
    pcm: bytes = b"ab",
    *,
    seat: int = 0,
    position: int = 0,
    last: bool = True,
    rate: int = 8000,
) -> Piece:
    return Piece(Spoken((seat, name)), pcm, rate, position, last)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def asides(counts: Counts) -> Asides:
    return Asides(counts)


async def test_pieces_become_whole_utterances_in_the_order_of_their_ends(asides: Asides) -> None:
    asides.add(piece("a", b"aa", last=False))
    asides.add(piece("b", b"bb", rate=16000))
    asides.add(piece("a", b"AA", position=1))
    assert await asides.next(0.0) == Sound(b"bb", 16000)
    assert await asides.next(0.0) == Sound(b"aaAA", 8000)
    assert await asides.next(0.0) is None


async def test_two_ais_may_use_the_same_name(asides: Asides) -> None:
    asides.add(piece("a", b"aa", seat=0, last=False))
    asides.add(piece("a", b"bb", seat=1))
    asides.add(piece("a", b"AA", seat=0, position=1))
    assert [await asides.next(0.0), await asides.next(0.0)] == [
        Sound(b"bb", 8000),
        Sound(b"aaAA", 8000),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        piece(position=2),
        piece(position=1, rate=16000),
        piece(position=1, pcm=b"odd"),
        piece("from another worker", position=9),
        piece("no rate", rate=0),
    ],
    ids=["hole", "other rate", "half a sample", "no beginning", "no rate"],
)
async def test_an_utterance_with_a_hole_is_not_said(
    asides: Asides, counts: Counts, wrong: Piece
) -> None:
    asides.add(piece(last=False))
    asides.add(wrong)
    if wrong.of[1] == "u":
        assert await asides.next(0.0) is None
    assert counts["agent_speech_broken"] >= 1


async def test_no_more_than_its_seconds_wait(asides: Asides, counts: Counts) -> None:
    for number in range(int(MOST_SECONDS) + 5):
        asides.add(piece(f"u{number}", SECOND))
    assert counts["agent_speech_dropped"] == 5


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from("abc"), st.integers(0, 400_000), st.booleans()
        ),
        max_size=40,
    )
)
async def test_no_history_keeps_more_than_its_seconds(
    steps: list[tuple[int, str, int, bool]],
) -> None:
    asides = Asides(Counts())
    at: dict[tuple[int, str], int] = {}
    for seat, name, samples, last in steps:
        begun = at.get((seat, name), 0)
        asides.add(piece(name, bytes(2 * samples), seat=seat, position=begun, last=last))
        at[seat, name] = 0 if last else begun + samples
    kept = 0.0
    while (sound := await asides.next(0.0)) is not None:
        kept += sound.seconds
    assert kept <= MOST_SECONDS


async def test_one_that_has_begun_is_waited_for_and_one_that_stalls_is_not(
    asides: Asides, counts: Counts
) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(1.5, asides.add, piece(last=False))
    loop.call_later(3.0, asides.add, piece(position=1))
    assert await asides.next(2.0) == Sound(b"abab", 8000)
    asides.add(piece(last=False))
    began = loop.time()
    assert await asides.next(0.0) is None
    assert loop.time() - began == pytest.approx(STALL_SECONDS)
    assert counts["agent_speech_broken"] == 1


async def test_nobody_is_waited_for_who_says_nothing_more(asides: Asides) -> None:
    asyncio.get_running_loop().call_later(0.5, asides.end)
    began = asyncio.get_running_loop().time()
    assert await asides.next(2.0) is None
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)


async def test_clear_takes_what_waits_of_that_ai_alone(asides: Asides) -> None:
    asides.add(piece("a", b"aa", seat=0))
    asides.add(piece("a", b"bb", seat=1))
    asides.add(piece("c", b"cc", seat=0, last=False))
    asides.clear(0, ())
    assert await asides.next(0.0) == Sound(b"bb", 8000)
    assert await asides.next(0.0) is None


async def test_clear_ends_what_is_being_said(asides: Asides) -> None:
    asides.add(piece("a"))
    await asides.next(0.0)
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, asides.clear, 0, ("b",))
    loop.call_later(2.0, asides.clear, 0, ("a",))
    began = loop.time()
    async with asides.saying():
        await asyncio.Event().wait()
    assert loop.time() - began == pytest.approx(2.0)


async def test_what_takes_a_while_to_fall_silent_may_be_cleared_again(asides: Asides) -> None:
    asides.add(piece("a"))
    await asides.next(0.0)
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, asides.clear, 0, ())
    async with asides.saying():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.0)
            asides.clear(0, ())
    asides.add(piece("b", b"bb"))
    assert await asides.next(0.0) == Sound(b"bb", 8000)


async def test_a_fault_of_what_says_it_is_not_taken_for_a_clear(asides: Asides) -> None:
    with pytest.raises(TimeoutError):
        async with asides.saying():
            raise TimeoutError


# --- the briefing ---------------------------------------------------------------------------


def connected(handoff: Handoff) -> bool:
    return handoff.phase is Phase.CONNECTED


async def answered(lab: Lab, context: Context) -> Handoff:
    handoff = await lab.escalate(context=context)
    await lab.until(handoff, lambda change: change.phase is Phase.ANSWERED)
    return handoff


async def test_an_ai_that_said_so_is_waited_for_before_its_text() -> None:
    async with running(speech=Letters(), **WHISPER) as lab:
        handoff = await answered(lab, Context(briefing_text="text", briefing_spoken=True))
        await asyncio.sleep(SPOKEN_SECONDS / 2)
        lab.registry.agent_speech(CALL, piece(pcm=b"own!"))
        await lab.until(handoff, connected)
        assert lab.pbx.said == [Sound(b"own!", 8000)]


async def test_its_text_is_said_where_it_stays_silent() -> None:
    async with running(speech=Letters(), **WHISPER) as lab:
        handoff = await answered(lab, Context(briefing_text="text", briefing_spoken=True))
        done = await lab.until(handoff, connected)
        assert lab.pbx.said == [Sound(b"text", 16000)]
        assert done.changed_at - handoff.created_at < SPOKEN_SECONDS + 1


async def test_what_it_said_before_the_agent_answered_goes_before_the_text() -> None:
    async with running(speech=Letters(), **WHISPER) as lab:
        lab.pbx.slow["dial"] = asyncio.Event()
        handoff = await lab.escalate(context=Context(briefing_text="text"))
        lab.registry.agent_speech(CALL, piece("one", b"1111"))
        lab.registry.agent_speech(CALL, piece("two", b"2222"))
        lab.pbx.slow["dial"].set()
        await lab.until(handoff, connected)
        assert lab.pbx.said == [Sound(b"1111", 8000), Sound(b"2222", 8000)]


async def test_what_it_says_during_the_text_follows_it() -> None:
    async with running(speech=Letters(), **WHISPER) as lab:
        lab.pbx.slow["brief"] = asyncio.Event()
        handoff = await answered(lab, Context(briefing_text="text"))
        await asyncio.sleep(0.5)
        lab.registry.agent_speech(CALL, piece(pcm=b"own!"))
        lab.pbx.slow["brief"].set()
        await lab.until(handoff, connected)
        assert lab.pbx.said == [Sound(b"text", 16000), Sound(b"own!", 8000)]


async def test_the_next_agent_hears_it_too() -> None:
    plan: dict[str, Any] = {**WHISPER, "targets": (ALICE, BOB), "accept_key": "1"}
    async with running(speech=Letters(), **plan) as lab:
        lab.pbx.briefings_last = True
        lab.pbx.phones = {ALICE: Phone(), BOB: Phone()}
        handoff = await lab.escalate(context=Context(briefing_text="text"))
        lab.registry.agent_speech(CALL, piece(pcm=b"own!"))
        await lab.until(handoff, lambda change: change.phase is Phase.BRIEFING)
        lab.pbx.agent_hangs_up(names.agent_channel(handoff.handoff_id, 1))
        await lab.until(
            handoff, lambda change: change.phase is Phase.BRIEFING and change.target == BOB
        )
        assert lab.pbx.said == [Sound(b"own!", 8000)] * 2


async def test_the_next_agent_does_not_hear_what_was_cleared() -> None:
    plan: dict[str, Any] = {**WHISPER, "targets": (ALICE, BOB), "accept_key": "1"}
    async with running(speech=Letters(), **plan) as lab:
        lab.pbx.briefings_last = True
        lab.pbx.phones = {ALICE: Phone(), BOB: Phone()}
        handoff = await lab.escalate(context=Context(briefing_text="text"))
        for name in ("wrong", "right"):
            lab.registry.agent_speech(CALL, piece(name, name.ljust(6).encode()))
        await lab.until(handoff, lambda change: change.phase is Phase.BRIEFING)
        lab.registry.agent_speech_cleared(CALL, 0, ("wrong",))
        await eventually(lambda: len(lab.pbx.said) == 2)
        lab.pbx.agent_hangs_up(names.agent_channel(handoff.handoff_id, 1))
        await lab.until(
            handoff, lambda change: change.phase is Phase.BRIEFING and change.target == BOB
        )
        wrong, right = Sound(b"wrong ", 8000), Sound(b"right ", 8000)
        assert lab.pbx.said == [wrong, right, right]


async def test_what_is_said_again_may_be_cleared_too(asides: Asides) -> None:
    asides.add(piece("a"))
    await asides.next(0.0)
    async with asides.saying(again_to_the_next=True):
        pass
    loop = asyncio.get_running_loop()
    loop.call_later(1.0, asides.clear, 0, ("a",))
    began = loop.time()
    for told in asides.told():
        async with asides.saying(told):
            await asyncio.Event().wait()
    assert loop.time() - began == pytest.approx(1.0)
    assert list(asides.told()) == []


async def test_no_more_than_its_seconds_are_kept_for_the_next_agent(asides: Asides) -> None:
    for number in range(int(MOST_SECONDS) + 5):
        asides.add(piece(f"u{number}", SECOND))
        await asides.next(0.0)
        async with asides.saying(again_to_the_next=True):
            pass
    assert len(list(asides.told())) == MOST_SECONDS


async def test_a_bot_that_is_lost_is_not_waited_for() -> None:
    async with running(speech=Letters(), **WHISPER) as lab:
        handoff = await answered(lab, Context(briefing_spoken=True))
        lab.registry.bot_lost(CALL)
        done = await lab.until(handoff, connected)
        assert done.changed_at - handoff.created_at < SPOKEN_SECONDS / 2


async def test_what_it_clears_ends_and_the_call_goes_on() -> None:
    async with running(speech=Letters(), **WHISPER) as lab:
        lab.pbx.briefings_last = True
        handoff = await answered(lab, Context(briefing_spoken=True))
        lab.registry.agent_speech(CALL, piece("long", SECOND))
        await lab.until(handoff, lambda change: change.phase is Phase.BRIEFING)
        lab.registry.agent_speech_cleared(CALL, 0, ("long",))
        done = await lab.until(handoff, connected)
        assert done.changed_at - handoff.created_at < 1
        assert "handoff_briefings_failed" not in lab.counts


async def test_where_nobody_is_briefed_it_is_counted_and_dropped() -> None:
    async with running(speech=Letters(), targets=(ALICE,)) as lab:
        lab.registry.agent_speech(CALL, piece())
        lab.pbx.slow["dial"] = asyncio.Event()
        await lab.escalate()
        lab.registry.agent_speech(CALL, piece())
        assert lab.counts["agent_speech_unheard"] == 2


# --- after the merge ------------------------------------------------------------------------


async def talking(lab: Lab) -> HandoffId:
    handoff = await lab.escalate()
    await lab.until(handoff, connected)
    return handoff.handoff_id


async def test_an_ai_whispers_into_the_running_conversation() -> None:
    async with running(targets=(ALICE,)) as lab:
        await talking(lab)
        lab.registry.agent_speech(CALL, piece("one", b"1111", seat=1))
        lab.registry.agent_speech(CALL, piece("two", b"2222", seat=1))
        await eventually(lambda: lab.pbx.said == [Sound(b"1111", 8000), Sound(b"2222", 8000)])


async def test_a_briefing_that_was_left_over_is_not_whispered() -> None:
    async with running(speech=Letters(), accept_key="1", **WHISPER) as lab:
        lab.pbx.briefings_last = True
        handoff = await lab.escalate(context=Context())
        lab.registry.agent_speech(CALL, piece("one", b"1111"))
        lab.registry.agent_speech(CALL, piece("two", b"2222"))
        await lab.until(handoff, lambda change: change.phase is Phase.BRIEFING)
        lab.registry.agent_key(names.agent_channel(handoff.handoff_id, 1), "1")
        await lab.until(handoff, connected)
        await asyncio.sleep(1.0)
        assert lab.pbx.said == [Sound(b"1111", 8000)]


async def test_a_whisper_that_the_pbx_refuses_is_counted_and_the_next_is_said() -> None:
    async with running(targets=(ALICE,)) as lab:
        await talking(lab)
        lab.pbx.fail("whisper", PbxError("POST", "/channels", 500, "no chan_websocket"))
        lab.registry.agent_speech(CALL, piece("one", b"1111"))
        lab.registry.agent_speech(CALL, piece("two", b"2222"))
        await eventually(lambda: lab.pbx.said == [Sound(b"2222", 8000)])
        assert lab.counts["handoff_whispers_failed"] == 1


async def test_whispers_are_said_one_after_the_other_and_few_wait() -> None:
    async with running(targets=(ALICE,)) as lab:
        handoff = await talking(lab)
        lab.pbx.slow["whisper"] = asyncio.Event()
        sounds = [Sound(bytes(2 * number), 8000) for number in range(1, WAITING + 1)]
        async with asyncio.TaskGroup() as asked:
            for sound in sounds:
                asked.create_task(lab.registry.whisper(handoff, sound, "acme"))
            await asyncio.sleep(0.1)
            with pytest.raises(WhispersWaiting):
                await lab.registry.whisper(handoff, Sound(b"ab", 8000), "acme")
            assert lab.pbx.said == []
            lab.pbx.slow["whisper"].set()
        assert lab.pbx.said == sounds


async def test_what_an_ai_says_waits_its_turn_among_the_whispers_of_others() -> None:
    async with running(targets=(ALICE,)) as lab:
        handoff = await talking(lab)
        lab.pbx.slow["whisper"] = asyncio.Event()
        sounds = [Sound(bytes(2 * number), 8000) for number in range(1, WAITING + 1)]
        async with asyncio.TaskGroup() as asked:
            for sound in sounds:
                asked.create_task(lab.registry.whisper(handoff, sound, "acme"))
            await asyncio.sleep(0.1)
            lab.registry.agent_speech(CALL, piece(pcm=b"tip!", seat=1))
            await asyncio.sleep(0.1)
            lab.pbx.slow["whisper"].set()
        await eventually(lambda: lab.pbx.said == [*sounds, Sound(b"tip!", 8000)])


async def test_what_an_ai_says_to_an_agent_who_leaves_is_counted() -> None:
    async with running(targets=(ALICE,)) as lab:
        await talking(lab)
        lab.pbx.fail("whisper", ChannelGone(ChannelId("agent")))
        lab.registry.agent_speech(CALL, piece(pcm=b"tip!", seat=1))
        await eventually(lambda: lab.counts["agent_speech_unheard"] == 1)


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        (PbxError("POST", "/channels", 500, "no chan_websocket"), NotSaid),
        (TimeoutError(), NotSaid),
        (ChannelGone(ChannelId("agent")), TooLate),
    ],
    ids=["refused", "slow", "gone"],
)
async def test_who_asks_is_told_why_it_was_not_said(
    fault: Exception, refused: type[Exception]
) -> None:
    async with running(targets=(ALICE,)) as lab:
        handoff = await talking(lab)
        lab.pbx.fail("whisper", fault)
        with pytest.raises(refused):
            await lab.registry.whisper(handoff, Sound(b"ab", 8000), "acme")


async def test_a_text_needs_speech() -> None:
    async with running(targets=(ALICE,)) as lab:
        handoff = await talking(lab)
        with pytest.raises(NoSpeech):
            await lab.registry.whisper(handoff, "Hello.", "acme")


async def test_another_tenants_handoff_is_refused_whatever_becomes_of_it() -> None:
    async with running(speech=Letters(), targets=(ALICE,)) as lab:
        handoff = await talking(lab)
        with pytest.raises(OtherTenant):
            await lab.registry.whisper(handoff, "Hello.", "other")
        lab.pbx.caller_hangs_up(lab.place)
        await asyncio.sleep(5.0)
        with pytest.raises(OtherTenant):
            await lab.registry.whisper(handoff, "Hello.", "other")
        with pytest.raises(TooLate):
            await lab.registry.whisper(handoff, "Hello.", "acme")


async def test_a_handoff_that_never_was_is_not_found() -> None:
    async with running(speech=Letters(), targets=(ALICE,)) as lab:
        with pytest.raises(UnknownHandoff):
            await lab.registry.whisper(HandoffId("nobody"), "Hello.", "acme")


async def test_a_voice_that_fails_is_no_speech() -> None:
    class Broken:
        async def render(self, text: str) -> Sound:
            raise Unspoken("flite ended with 1")

    async with running(speech=Broken(), targets=(ALICE,)) as lab:
        handoff = await talking(lab)
        with pytest.raises(NoSpeech):
            await lab.registry.whisper(handoff, "Hello.", "acme")
