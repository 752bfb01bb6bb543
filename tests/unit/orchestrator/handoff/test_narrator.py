"""What agent and caller are told: the AI's audio, a text; never does speech hold anything up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from orchestrator.handoff import names
from orchestrator.handoff.narrator import SPEECH_SECONDS
from orchestrator.handoff.ports import Sound, Unspoken
from orchestrator.handoff.refusals import TooLate
from orchestrator.model import Context, Handoff, Limits, Outcome, Pattern, Phase

from tests.builders.handoffs import ALICE, BOB
from tests.builders.running import running
from tests.fakes.telephony import Phone

WHISPER: dict[str, Any] = {"pattern": Pattern.WARM_WHISPER, "targets": (ALICE,)}


class Voice:
    """Says a text as its letters; `slow` never ends, `mute` fails."""

    def __init__(self, *, slow: bool = False, mute: bool = False) -> None:
        self.slow, self.mute = slow, mute

    async def render(self, text: str) -> Sound:
        if self.slow:
            await asyncio.Event().wait()
        if self.mute:
            raise Unspoken("no voice")
        return Sound(text.encode(), 16000)


def connected(handoff: Handoff) -> bool:
    return handoff.phase is Phase.CONNECTED


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (Context(briefing_audio=b"ab", briefing_text="text"), Sound(b"ab", 8000)),
        (Context(briefing_text="text"), Sound(b"text", 16000)),
    ],
)
async def test_the_ais_audio_comes_before_its_text(context: Context, said: Sound) -> None:
    async with running(speech=Voice(), **WHISPER) as lab:
        handoff = await lab.escalate(context=context)
        await lab.until(handoff, connected)
        assert lab.pbx.said == [said]


async def test_what_is_patched_while_the_phone_rings_is_said() -> None:
    async with running(speech=Voice(), **WHISPER) as lab:
        lab.pbx.slow["dial"] = asyncio.Event()
        handoff = await lab.escalate(context=Context(briefing_text="old"))
        await lab.registry.patch_context(handoff.handoff_id, Context(briefing_text="new"), 0)
        lab.pbx.slow["dial"].set()
        await lab.until(handoff, connected)
        assert lab.pbx.said == [Sound(b"new", 16000)]


async def test_nothing_to_say_is_no_fault() -> None:
    async with running(speech=Voice(), **WHISPER) as lab:
        done = await lab.until(await lab.escalate(context=Context()), connected)
        assert done.outcome is Outcome.CONNECTED
        assert not [name for name in lab.counts if "briefing" in name]


@pytest.mark.parametrize("voice", [Voice(mute=True), Voice(slow=True)], ids=["mute", "slow"])
async def test_speech_that_fails_or_is_slow_is_counted_and_left_out(voice: Voice) -> None:
    async with running(speech=voice, **WHISPER) as lab:
        asked = await lab.escalate(context=Context(briefing_text="text"))
        done = await lab.until(asked, connected)
        assert done.changed_at - done.created_at < SPEECH_SECONDS + 1
        assert lab.counts["handoff_briefings_unspoken"] == 1
        assert lab.pbx.said == []


async def test_a_pbx_that_cannot_speak_is_counted_and_left_out() -> None:
    async with running(speech=Voice(), **WHISPER) as lab:
        lab.pbx.fail("brief", Unspoken("no chan_websocket"))
        await lab.until(await lab.escalate(context=Context(briefing_text="text")), connected)
        assert lab.counts["handoff_briefings_failed"] == 1


async def test_a_key_ends_the_briefing_and_leaves_no_bridge_of_it() -> None:
    async with running(speech=Voice(), accept_key="1", **WHISPER) as lab:
        lab.pbx.briefings_last = True
        handoff = await lab.escalate(context=Context(briefing_text="text"))
        await lab.until(handoff, lambda change: change.phase is Phase.BRIEFING)
        agent = names.agent_channel(handoff.handoff_id, 1)
        lab.registry.agent_key(agent, "1")
        await lab.until(handoff, connected)
        await asyncio.sleep(0.1)
        assert set(lab.pbx.bridges) == {names.merge_bridge(handoff.handoff_id)}


async def test_an_agent_who_hangs_up_while_briefed_is_followed_by_one_who_is_briefed() -> None:
    async with running(
        speech=Voice(), **{**WHISPER, "targets": (ALICE, BOB), "accept_key": "1"}
    ) as lab:
        lab.pbx.briefings_last = True
        lab.pbx.phones = {ALICE: Phone(), BOB: Phone()}
        handoff = await lab.escalate(context=Context(briefing_text="text"))
        await lab.until(handoff, lambda change: change.phase is Phase.BRIEFING)
        lab.pbx.agent_hangs_up(names.agent_channel(handoff.handoff_id, 1))
        second = await lab.until(
            handoff, lambda change: change.phase is Phase.BRIEFING and change.target == BOB
        )
        assert second.outcome is Outcome.AGENT_HUNG_UP
        assert len(lab.pbx.said) == 2


async def test_the_rules_phrase_is_said_to_the_caller_by_the_calls_language() -> None:
    phrases = {"en": "One moment.", "de": "Einen Moment."}
    async with running(speech=Voice(), targets=(ALICE,), phrases=phrases) as lab:
        done = await lab.until(await lab.escalate(language="de"), connected)
        assert done.outcome is Outcome.CONNECTED
        assert lab.pbx.said == [Sound(b"Einen Moment.", 16000)]
        assert lab.pbx.steps.index(f"tell {lab.place.caller}") > lab.pbx.steps.index(
            f"hold {lab.place.caller}"
        )


@pytest.mark.parametrize("voice", [Voice(mute=True), Voice(slow=True)], ids=["mute", "slow"])
async def test_a_phrase_without_speech_is_counted_and_left_out(voice: Voice) -> None:
    async with running(speech=voice, targets=(ALICE,), phrases={"*": "One moment."}) as lab:
        done = await lab.until(await lab.escalate(), connected)
        assert done.changed_at - done.created_at < SPEECH_SECONDS + 1
        assert lab.counts["handoff_phrases_unspoken"] == 1
        assert lab.pbx.said == []


async def test_a_pbx_that_cannot_tell_the_phrase_is_counted_and_left_out() -> None:
    async with running(speech=Voice(), targets=(ALICE,), phrases={"*": "One moment."}) as lab:
        lab.pbx.fail("tell", Unspoken("no chan_websocket"))
        await lab.until(await lab.escalate(), connected)
        assert lab.counts["handoff_phrases_failed"] == 1


async def test_a_phrase_that_never_ends_is_cut_by_its_deadline() -> None:
    limits = Limits(phrase=0.5)
    async with running(
        speech=Voice(), targets=(ALICE,), phrases={"*": "One moment."}, limits=limits
    ) as lab:
        lab.pbx.phrases_last = True
        await lab.until(await lab.escalate(), connected)


@pytest.mark.parametrize("failed", [False, True])
async def test_media_of_the_pbx_ends_when_the_pbx_says_so(failed: bool) -> None:
    async with running(targets=(ALICE,), phrases={"*": "sound:moment"}) as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, lambda change: change.phase is Phase.ACCEPTED)
        lab.registry.playback_ended(f"vf-{handoff.handoff_id}-phrase", failed=failed)
        done = await lab.until(handoff, connected)
        assert done.changed_at - done.created_at < 1
        assert lab.counts["handoff_phrases_failed"] == failed


async def test_an_agent_who_talks_with_the_caller_can_be_told_something() -> None:
    async with running(speech=Voice(), targets=(ALICE,)) as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        await lab.registry.whisper(handoff.handoff_id, "their card was stolen", "acme")
        assert lab.pbx.said == [Sound(b"their card was stolen", 16000)]


async def test_nobody_is_told_anything_before_they_talk() -> None:
    async with running(speech=Voice(), targets=(ALICE,)) as lab:
        lab.pbx.slow["dial"] = asyncio.Event()
        handoff = await lab.escalate()
        with pytest.raises(TooLate):
            await lab.registry.whisper(handoff.handoff_id, "too early", "acme")
