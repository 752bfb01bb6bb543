"""Handoffs that nobody takes, or that are taken back: the caller always hears somebody or music."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_sdk.model import CloseReason, Phase

from tests.e2e.ears import AGENT, BOT, INTRO, MUSIC, until_hears
from tests.e2e.switchboard import NOWHERE, Scene, Switchboard, asking, open_switchboard
from tests.e2e.watch import Watch
from tests.e2e.witnessed import assert_witness_agrees

pytestmark = pytest.mark.asyncio(loop_scope="module")

BACK = [pb.FALLBACK_RETURN_TO_BOT]
RULES = {
    "default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 6, "accept_seconds": 6},
    "rules": [
        {"name": "nobody", "when": {"intent": ["nobody"]}, "ring_seconds": 1},
        {"name": "two", "when": {"intent": ["two"]}, "targets": ["PJSIP/agent-1", "PJSIP/agent-2"]},
        {
            "name": "key",
            "when": {"intent": ["key"]},
            "accept_key": "1",
            "accept_seconds": 0.7,
        },
        {
            "name": "key-two",
            "when": {"intent": ["key-two"]},
            "accept_key": "1",
            "targets": ["PJSIP/agent-1", "PJSIP/agent-2"],
        },
        {"name": "frozen", "when": {"intent": ["dispute"]}, "freeze": True},
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES) as board:
        yield board


async def assert_queued(scene: Scene, watch: Watch) -> pb.Handoff:
    """The caller waits in the queue with music; the bot is gone, no bridge is left."""
    final = await watch.final()
    assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_QUEUED)
    await scene.board.stage.wait_in_queue()
    await until_hears(scene.caller, MUSIC)
    await scene.until_stands(["PJSIP/carrier"], [])
    scene.assert_never_alone()
    await scene.until_closed()
    return final


@pytest.mark.parametrize(
    ("behaviour", "outcome", "sip_status"),
    [
        pytest.param({"ring_seconds": 0.0, "status": 486}, pb.OUTCOME_BUSY, 486, id="busy"),
        pytest.param({"status": 603}, pb.OUTCOME_DECLINED, 603, id="declines"),
        pytest.param({"status": None}, pb.OUTCOME_NO_ANSWER, None, id="does not answer"),
    ],
)
async def test_the_caller_of_an_agent_who_takes_no_call_waits_in_the_queue(
    board: Switchboard,
    behaviour: dict[str, Any],
    outcome: pb.Outcome.ValueType,
    sip_status: int | None,
) -> None:
    board.behave(**behaviour)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="nobody"))
        why = await watch.because_of(outcome)
        if sip_status is not None:
            assert why.sip_status == sip_status
        await assert_queued(scene, watch)
        await scene.until_ended()
        assert len(scene.calls_to()) == 1


@pytest.mark.parametrize(
    ("endpoint", "outcome"),
    [
        pytest.param("PJSIP/nobody", pb.OUTCOME_UNREACHABLE, id="that does not exist"),
        pytest.param(f"PJSIP/{NOWHERE}", pb.OUTCOME_NO_ANSWER, id="that is switched off"),
    ],
)
async def test_the_caller_for_a_phone_that_is_not_there_waits_in_the_queue(
    board: Switchboard, endpoint: str, outcome: pb.Outcome.ValueType
) -> None:
    async with board.calling() as scene:
        target = pb.Target(endpoint=endpoint)
        watch = await scene.escalate(asking(intent="nobody", target=target))
        await watch.because_of(outcome)
        await assert_queued(scene, watch)


async def test_an_agent_who_never_presses_the_key_does_not_get_the_caller(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="key"))
        await watch.because_of(pb.OUTCOME_NO_ANSWER)
        await assert_queued(scene, watch)
        await scene.until_ended()


async def test_an_agent_who_hangs_up_before_accepting_is_followed_by_the_next(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.0, hang_up_after_seconds=0.3)
    board.behave("agent-2", ring_seconds=0.0, keys="1", keys_after_seconds=0.3)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="key-two"))
        await watch.because_of(pb.OUTCOME_AGENT_HUNG_UP)
        connected = await watch.until(pb.PHASE_CONNECTED)
        assert connected.target.endpoint == "PJSIP/agent-2"
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone()


async def test_the_second_target_gets_the_caller_of_a_busy_first(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, status=486)
    board.behave("agent-2", ring_seconds=0.3)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent="two"))
        connected = await watch.until(pb.PHASE_CONNECTED)
        assert connected.target.endpoint == "PJSIP/agent-2"
        await until_hears(scene.caller, AGENT)
        await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])
        assert [len(scene.calls_to(phone)) for phone in ("agent-1", "agent-2")] == [1, 1]
        scene.assert_never_alone()


@pytest.mark.parametrize("intent", ["plain", "dispute"], ids=["talking on", "frozen"])
async def test_a_caller_who_is_returned_hears_the_bot_again(
    board: Switchboard, intent: str
) -> None:
    board.behave(ring_seconds=0.3, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent=intent, fallbacks=BACK))
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_RETURNED, pb.OUTCOME_RETURNED_TO_BOT)
        await until_hears(scene.caller, BOT)
        assert scene.puppet.close is None
        await scene.until_told(Phase.RETURNED)
        await scene.until_stands(["PJSIP/carrier", "UnicastRTP"], ["bot"])


@pytest.mark.parametrize("intent", ["plain", "dispute"], ids=["talking on", "frozen"])
async def test_a_cancelled_handoff_stops_the_ringing_and_brings_the_bot_back(
    board: Switchboard, intent: str
) -> None:
    board.behave(status=None)
    async with board.calling() as scene:
        watch = await scene.escalate(asking(intent=intent))
        await watch.until(pb.PHASE_RINGING)
        await until_hears(scene.caller, MUSIC)
        await board.cancel(watch)
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_CANCELLED, pb.OUTCOME_CANCELLED)
        await until_hears(scene.caller, BOT)
        assert (await scene.until_ended()).cancelled
        await scene.until_stands(["PJSIP/carrier", "UnicastRTP"], ["bot"])
        # And once more, all the way: nothing of the first is in the way.
        board.behave(ring_seconds=0.0)
        await (await scene.escalate(asking())).until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)


async def test_an_ai_takes_back_what_it_asked_for(board: Switchboard) -> None:
    board.behave(status=None)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await watch.until(pb.PHASE_RINGING)
        await until_hears(scene.caller, MUSIC)
        assert scene.escalation is not None
        scene.puppet.call.cancel_escalation(scene.escalation, reason="the caller changed her mind")
        assert (await scene.result()).phase is Phase.CANCELLED
        await until_hears(scene.caller, BOT)
        assert (await scene.until_ended()).cancelled


async def test_a_connected_handoff_cannot_be_cancelled(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await scene.escalate(asking())
        await watch.until(pb.PHASE_CONNECTED)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await board.cancel(watch)
        assert late.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        await until_hears(scene.caller, AGENT)


async def test_a_handoff_that_supersedes_another_keeps_the_music_on(board: Switchboard) -> None:
    board.behave(status=None)
    async with board.calling() as scene:
        first = await scene.escalate(asking())
        escalated = scene.escalated_ns
        await first.until(pb.PHASE_RINGING)
        await until_hears(scene.caller, MUSIC)
        board.behave("agent-2", ring_seconds=0.3)
        target = pb.Target(endpoint="PJSIP/agent-2")
        second = await scene.escalate_by_service(asking(target=target, supersede=True))
        assert (await first.final()).outcome == pb.OUTCOME_SUPERSEDED
        await second.until(pb.PHASE_CONNECTED)
        await until_hears(scene.caller, AGENT)
        assert (await scene.until_ended()).cancelled
        await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])
        scene.escalated_ns = escalated
        scene.assert_never_alone()


async def test_the_dialplans_queue_takes_the_caller_after_the_last_phrase(
    board: Switchboard,
) -> None:
    async with board.calling() as scene:
        await scene.puppet.say("goodbye", INTRO, 600)
        request = asking(pattern=pb.PATTERN_DIALPLAN)
        watch = await scene.escalate(request, say_first="goodbye")
        await assert_queued(scene, watch)
        assert (await scene.result()).phase is Phase.QUEUED
        assert (await scene.until_closed()).reason is CloseReason.LEFT_BOT
        last = await watch.settled()
        heard = scene.caller.heard
        assert_witness_agrees(
            last.timing.dead_air_ms, heard, scene.escalated_ns, heard[-1].arrival_ns
        )
