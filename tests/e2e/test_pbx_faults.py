"""The websocket to Asterisk breaks, or Asterisk dies and comes back, in mid-handoff."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import pytest
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.tones import write_tone
from voicefork_cli.measure.pcm import tone

from tests.e2e.ears import AGENT, INTRO, MUSIC, until_hears
from tests.e2e.replicas import Company, Pair, a_pair, assert_never_alone, connected, open_company
from tests.e2e.switchboard import Scene, asking
from tests.e2e.watch import Watch
from tests.fakes.puppet_agent import story
from tests.integration.orchestrator.relay import open_relay

pytestmark = pytest.mark.alone

AWAY_SECONDS = 1.0
SOON = 20.0
GONE_SECONDS = 15.0
ONE = ["PJSIP/agent-1"]
RULES = {
    "default": {"targets": ONE, "ring_seconds": 6},
    "rules": [
        {
            "name": "briefing",
            "when": {"intent": ["briefing"]},
            "targets": ONE,
            "pattern": "warm_whisper",
            "accept_key": "1",
            "accept_seconds": 12,
        },
        {
            "name": "menu",
            "when": {"intent": ["menu"]},
            "targets": ONE,
            "fallbacks": ["holding_menu"],
            "menu": {"announcement": "sound:@SAID@", "keys": {"1": "next_target"}},
        },
    ],
}


@pytest.fixture
async def company(lab: Lab) -> AsyncIterator[Company]:
    """For one test, which may end its Asterisk."""
    said = lab.folder / "said"
    write_tone(said.with_suffix(".wav"), INTRO, seconds=1)
    rules = json.loads(json.dumps(RULES).replace("@SAID@", str(said)))
    async with open_company(lab, rules) as company:
        yield company


# --- how far it has come --------------------------------------------------------------------


async def the_briefing(scene: Scene) -> Watch:
    context = story(account="4092")
    context.briefing_audio = tone(INTRO, 8000 * 8).tobytes()
    request = asking(intent="briefing", pattern=pb.PATTERN_AUTO, context=context)
    watch = await scene.escalate_by_service(request)
    await watch.until(pb.PHASE_BRIEFING)
    return watch


async def the_menu(scene: Scene) -> Watch:
    scene.board.behave(ring_seconds=0.0, status=486)
    watch = await scene.escalate_by_service(asking(intent="menu", pattern=pb.PATTERN_AUTO))
    await until_hears(scene.caller, INTRO)
    await until_hears(scene.caller, MUSIC)
    return watch


async def the_conversation(scene: Scene) -> Watch:
    watch = await scene.escalate_by_service(asking())
    await watch.until(pb.PHASE_CONNECTED)
    await until_hears(scene.caller, AGENT)
    return watch


async def until_connected(pair: Pair, *, wanted: bool = True) -> None:
    """Until the orchestrator has its websocket; or, `wanted` False, has lost it."""
    page = f"http://{pair.active.addresses['admin']}/nodes"
    async with asyncio.timeout(SOON):
        while True:
            (node,) = (await pair.board.stage.listed(page))["nodes"].values()
            if node["connected"] is wanted:
                return
            await asyncio.sleep(0.05)


# --- the websocket breaks -------------------------------------------------------------------


async def test_an_agent_who_is_briefed_takes_the_call_after_the_websocket_broke(
    company: Company,
) -> None:
    async with (
        open_relay(company.stage.asterisk.http_url) as relay,
        a_pair(company, heirs=False, ari_url=relay.url) as pair,
        pair.board.calling() as scene,
    ):
        pair.board.behave(ring_seconds=0.0)
        watch = await the_briefing(scene)
        relay.cut()
        await asyncio.sleep(AWAY_SECONDS)
        relay.mend()
        await until_connected(pair)
        await scene.calls_to()[0].press("1")
        await connected(scene, watch)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_a_caller_chooses_after_the_websocket_broke(company: Company) -> None:
    async with (
        open_relay(company.stage.asterisk.http_url) as relay,
        a_pair(company, heirs=False, ari_url=relay.url) as pair,
        pair.board.calling() as scene,
    ):
        watch = await the_menu(scene)
        relay.cut()
        await asyncio.sleep(AWAY_SECONDS)
        relay.mend()
        await until_connected(pair)
        await assert_never_alone(scene)
        pair.board.behave(ring_seconds=0.3)
        await scene.caller.press("1")
        assert (await watch.final()).outcome == pb.OUTCOME_CONNECTED
        await until_hears(scene.caller, AGENT)
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
        await assert_never_alone(scene)


async def test_an_agent_who_answers_while_the_websocket_is_away_is_connected(
    company: Company,
) -> None:
    async with (
        open_relay(company.stage.asterisk.http_url) as relay,
        a_pair(company, heirs=False, ari_url=relay.url) as pair,
        pair.board.calling() as scene,
    ):
        pair.board.behave(ring_seconds=0.5)
        watch = await scene.escalate_by_service(asking())
        await watch.until(pb.PHASE_RINGING)
        relay.cut()
        await scene.until_answered()
        await asyncio.sleep(AWAY_SECONDS)
        relay.mend()
        await connected(scene, watch)


async def test_an_agent_who_hangs_up_while_the_websocket_is_away_leaves_nobody_alone(
    company: Company,
) -> None:
    async with (
        open_relay(company.stage.asterisk.http_url) as relay,
        a_pair(company, heirs=False, ari_url=relay.url) as pair,
        pair.board.calling() as scene,
    ):
        pair.board.behave(ring_seconds=0.0)
        watch = await the_conversation(scene)
        relay.cut()
        await until_hears(scene.caller, AGENT)  # a conversation needs no orchestrator
        await scene.calls_to()[0].hang_up()
        relay.mend()
        async with asyncio.timeout(GONE_SECONDS):
            await scene.caller.ended.wait()
        assert (await watch.settled()).outcome == pb.OUTCOME_CONNECTED
        await scene.until_stands([], [])


# --- Asterisk dies and comes back ---------------------------------------------------------------


async def start_again(company: Company, opened: AsyncExitStack) -> None:
    """kill -9, and the same node once more."""
    asterisk = company.stage.asterisk
    asterisk.program.signal(signal.SIGKILL)
    await asterisk.program.wait()
    argv = [asterisk.installation.binary, "-C", asterisk.etc / "asterisk.conf", "-fn"]
    await opened.enter_async_context(company.stage.lab.program("asterisk-again", argv))


ENDED = frozenset({pb.OUTCOME_PBX_UNREACHABLE, pb.OUTCOME_PBX_ERROR, pb.OUTCOME_CALLER_HUNG_UP})
STEPS: dict[Callable[[Scene], Awaitable[Watch]], frozenset[pb.Outcome.ValueType]] = {
    the_briefing: ENDED,
    the_menu: ENDED,
    the_conversation: frozenset({pb.OUTCOME_CONNECTED}),
}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
async def test_a_node_that_restarts_during(
    company: Company, step: Callable[[Scene], Awaitable[Watch]]
) -> None:
    stage = company.stage
    async with AsyncExitStack() as again, a_pair(company, heirs=False) as pair:
        pair.board.behave(ring_seconds=0.0)
        final: list[pb.Handoff] = []
        with suppress(BaseExceptionGroup, AssertionError, TimeoutError):  # everybody is cut off
            async with pair.board.calling() as scene:
                watch = await step(scene)
                await start_again(company, again)
                final += [await watch.final(), await watch.settled()]
        assert [each.outcome for each in final] == [final[0].outcome] * 2
        assert final[0].outcome in STEPS[step]
        await stage.wait_empty(pair.active)
        await until_connected(pair)
        pair.board.behave(ring_seconds=0.3)
        async with pair.board.calling() as scene:  # the next one
            await connected(scene, await scene.escalate_by_service(asking()))
            await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
