"""A phone, a bot or a worker is lost in mid-handoff: the handoff goes on."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.pcm import tone

from tests.e2e.ears import AGENT, INTRO, MUSIC, until_hears
from tests.e2e.switchboard import FOUND_SECONDS, Scene, Switchboard, asking, open_switchboard
from tests.e2e.watch import Watch
from tests.fakes.puppet_agent import story

UNREGISTERED = "PJSIP/carrier"  # an endpoint whose AOR has no contact
RULES = {
    "default": {"pattern": "attended", "targets": ["PJSIP/agent-1"], "ring_seconds": 6},
    "rules": [
        {"name": "key", "when": {"intent": ["key"]}, "accept_key": "1", "accept_seconds": 8},
        {
            "name": "away",
            "when": {"intent": ["away"]},
            "targets": [UNREGISTERED, "PJSIP/agent-2"],
            "fallbacks": ["next_target"],
        },
        {
            "name": "two",
            "when": {"intent": ["two"]},
            "targets": ["PJSIP/agent-1", "PJSIP/agent-2"],
            "fallbacks": ["next_target"],
            "ring_seconds": 4,
        },
        {
            "name": "told",
            "when": {"intent": ["told"]},
            "pattern": "warm_whisper",
            "targets": ["PJSIP/agent-1", "PJSIP/agent-2"],
            "fallbacks": ["next_target"],
            "accept_key": "1",
            "accept_seconds": 4,
        },
    ],
}
PHASES = pytest.mark.parametrize(
    ("intent", "phase"),
    [("plain", pb.PHASE_RINGING), ("key", pb.PHASE_ANSWERED)],
    ids=["ringing", "answered"],
)


@pytest.fixture
async def board(lab: Lab) -> AsyncIterator[Switchboard]:
    """For one test, which may kill what it likes."""
    async with open_switchboard(lab, RULES) as board:
        yield board


async def under_way(scene: Scene, intent: str, phase: pb.Phase.ValueType) -> Watch:
    """A handoff that has come as far as that; the agent takes it two seconds later."""
    if intent == "key":
        scene.board.behave(ring_seconds=0.2, keys="1", keys_after_seconds=2.0)
    else:
        scene.board.behave(ring_seconds=2.0)
    watch = await scene.escalate(asking(intent=intent, pattern=pb.PATTERN_AUTO))
    await watch.until(phase)
    await until_hears(scene.caller, MUSIC)
    return watch


async def assert_connected(scene: Scene, watch: Watch) -> None:
    """The agent was called once, and the caller never without music or voice."""
    final = await watch.final()
    assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
    await until_hears(scene.caller, AGENT)
    assert len(scene.calls_to()) == 1
    await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])
    scene.assert_never_alone()


async def test_a_phone_that_is_not_registered_is_unreachable_and_the_next_one_rings(
    board: Switchboard,
) -> None:
    board.behave("agent-2", ring_seconds=0.3)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="away", pattern=pb.PATTERN_AUTO))
        assert (await watch.until(pb.PHASE_DIALLING)).target.endpoint == UNREGISTERED
        await watch.because_of(pb.OUTCOME_UNREACHABLE)
        final = await watch.final()
        assert (final.outcome, final.target.endpoint) == (pb.OUTCOME_CONNECTED, "PJSIP/agent-2")
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone()


# --- a registration that is lost in mid-handoff -------------------------------------------------


async def lose_registration(board: Switchboard, phone: str = "agent-1") -> None:
    """Its AOR has no contact any more; what is under way with it is not told."""
    asterisk, uri = board.stage.asterisk, board.phones[phone].uri
    config = asterisk.etc / "pjsip.conf"
    config.write_text(config.read_text().replace(f"contact={uri}\n", ""))
    await asterisk.cli("module reload res_pjsip.so")
    async with asyncio.timeout(FOUND_SECONDS):
        while uri in await asterisk.cli("pjsip show contacts"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def briefed() -> pb.EscalateRequest:
    """An agent is told for three seconds."""
    context = story(account="4092")
    context.briefing_audio = tone(INTRO, 8000 * 3).tobytes()
    return asking(intent="told", pattern=pb.PATTERN_AUTO, context=context)


async def assert_second_agent(scene: Scene, watch: Watch) -> None:
    final = await watch.final()
    assert (final.outcome, final.target.endpoint) == (pb.OUTCOME_CONNECTED, "PJSIP/agent-2")
    await until_hears(scene.caller, AGENT)
    await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])
    scene.assert_never_alone()


async def test_a_ringing_phone_that_loses_its_registration_may_answer_yet(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=2.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="two", pattern=pb.PATTERN_AUTO))
        await watch.until(pb.PHASE_RINGING)
        await lose_registration(board)
        await assert_connected(scene, watch)


async def test_a_ringing_phone_that_is_lost_with_its_registration_is_followed_by_the_next(
    board: Switchboard,
) -> None:
    board.behave(status=None)
    board.behave("agent-2", ring_seconds=0.3)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="two", pattern=pb.PATTERN_AUTO))
        await watch.until(pb.PHASE_RINGING)
        await lose_registration(board)
        await watch.because_of(pb.OUTCOME_NO_ANSWER)
        await assert_second_agent(scene, watch)


async def test_a_phone_that_loses_its_registration_while_briefed_may_take_the_call(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.2, keys="1", keys_after_seconds=4.0)
    async with board.calling() as scene:
        watch = await scene.escalate(briefed())
        await watch.until(pb.PHASE_BRIEFING)
        await lose_registration(board)
        await assert_connected(scene, watch)


async def test_a_phone_that_is_lost_while_briefed_is_followed_by_the_next(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.2)
    board.behave("agent-2", ring_seconds=0.2, keys="1", keys_after_seconds=1.0)
    async with board.calling() as scene:
        watch = await scene.escalate(briefed())
        await watch.until(pb.PHASE_BRIEFING)
        await lose_registration(board)
        await watch.because_of(pb.OUTCOME_NO_ANSWER)  # nobody pressed the key
        await assert_second_agent(scene, watch)


# --- the bot's side -----------------------------------------------------------------------------


@PHASES
async def test_a_bot_that_fails_costs_no_handoff(
    board: Switchboard, intent: str, phase: pb.Phase.ValueType
) -> None:
    async with board.calling() as scene:
        watch = await under_way(scene, intent, phase)
        scene.puppet.call.spawn(_fail())
        await assert_connected(scene, watch)


async def _fail() -> None:
    raise RuntimeError("told to fail")


@PHASES
async def test_a_worker_that_is_killed_costs_no_handoff(
    board: Switchboard, intent: str, phase: pb.Phase.ValueType
) -> None:
    async with board.calling() as scene:
        watch = await under_way(scene, intent, phase)
        worker, board.worker = board.worker, None  # type: ignore[assignment]
        worker.program.signal(signal.SIGKILL)
        await assert_connected(scene, watch)
        await scene.caller.hang_up()
        async with asyncio.timeout(FOUND_SECONDS):
            while await board.stage.calls_of_orchestrator(board.orchestrator):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await board.stage.forget()  # the dead worker's half of the call
