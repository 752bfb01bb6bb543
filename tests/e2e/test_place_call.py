"""Calls out: placed once, with the bot on them, and handed over like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status  # type: ignore[import-untyped]
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.tones import tone_timeline
from voicefork_cli.sim.phone import Behaviour, PhoneCall

from tests.e2e.alone import assert_never_alone, unsaid
from tests.e2e.carrier_side import Outside, open_outside
from tests.e2e.ears import AGENT, BOT, MUSIC, TONES
from tests.e2e.recordings import assert_whole, read_recording
from tests.e2e.witnessed import assert_witness_agrees

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = {"default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 6}, "queues": {"voicefork": {}}}
SOON = 20.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(stage_lab: Lab) -> AsyncIterator[Outside]:
    async with open_outside(stage_lab, RULES) as outside:
        yield outside


async def hears(call: PhoneCall, hz: int) -> None:
    async with asyncio.timeout(SOON):
        while not any(  # noqa: ASYNC110
            each.hz == {hz} and each.packets >= 10 for each in tone_timeline(call.heard, TONES)
        ):
            await asyncio.sleep(0.05)


def order(call: PhoneCall) -> list[set[float]]:
    """The tones in their order."""
    return [set(each.hz) for each in tone_timeline(call.heard, TONES) if each.hz]


def fresh() -> str:
    """A request of its own, also when the test is run again."""
    return f"p-{time.time_ns()}"


async def states(outside: Outside) -> dict[str, str]:
    """Of each call, as the orchestrator sees it."""
    views = await outside.stage.calls_of_orchestrator(outside.orchestrator)
    return {str(view["call_id"]): str(view["state"]) for view in views}


async def refusal(asked: Any) -> str:
    """ErrorInfo's reason."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asked
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(refused.value)
    assert status is not None
    assert status.details[0].Unpack(info)
    return str(info.reason)


async def test_a_placed_call_hears_the_bot_and_the_bot_knows_it_is_answered(
    outside: Outside,
) -> None:
    outside.behave(ring_seconds=0.3)
    call_id = await outside.place(fresh())
    callee = await outside.callee.next_call()
    puppet = await outside.vendor.puppet(call_id)
    await hears(callee, BOT)
    assert callee.invite.get("X-Voicefork-Direction") == "out"
    assert callee.invite.get("X-Voicefork-Call") == call_id
    await puppet.call.answered()
    async with asyncio.timeout(SOON):
        while await states(outside) != {call_id: "talking"}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await outside.clear(callee)
    assert len(await read_recording(outside.stage.asterisk.spool, call_id))


async def test_asked_twice_one_phone_rings_once(outside: Outside) -> None:
    outside.behave(ring_seconds=0.3)
    before = len(outside.callee.calls)
    request = fresh()
    first, again = await asyncio.gather(outside.place(request), outside.place(request))
    assert first == again
    callee = await outside.callee.next_call()
    await hears(callee, BOT)
    assert len(outside.callee.calls) == before + 1
    await outside.clear(callee)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(486, "BUSY"), (603, "DECLINED"), (404, "UNREACHABLE"), (480, "NO_ANSWER")],
)
async def test_a_call_that_is_refused_says_why(outside: Outside, status: int, reason: str) -> None:
    outside.behave(ring_seconds=0.1, status=status)
    assert await refusal(outside.place(fresh())) == reason
    await outside.callee.next_call()
    await outside.clear()


async def test_a_phone_that_nobody_picks_up_stops_ringing(outside: Outside) -> None:
    outside.behave(status=None)
    assert await refusal(outside.place(fresh())) == "NO_ANSWER"
    callee = await outside.callee.next_call()
    async with asyncio.timeout(SOON):
        await callee.ended.wait()
    assert callee.cancelled
    await outside.clear()


async def test_who_is_on_no_list_is_not_called(outside: Outside) -> None:
    before = len(outside.callee.calls)
    assert await refusal(outside.place(fresh(), "+900123456")) == "DESTINATION_NOT_ALLOWED"
    assert len(outside.callee.calls) == before


async def test_a_placed_call_is_handed_to_an_agent_without_a_silent_frame(outside: Outside) -> None:
    outside.behave(ring_seconds=0.2)
    outside.agent.behaviour = Behaviour(ring_seconds=0.5)
    call_id = await outside.place(fresh())
    callee = await outside.callee.next_call()
    await hears(callee, BOT)
    handoff = await outside.escalate(
        request_id=fresh(),
        call_id=call_id,
        pattern=pb.PATTERN_ATTENDED,
        target=pb.Target(endpoint="PJSIP/agent-1"),
    )
    last = await outside.ended(handoff.handoff_id)
    assert last.outcome == pb.OUTCOME_CONNECTED
    await hears(callee, AGENT)
    assert order(callee)[-3:] == [{BOT}, {MUSIC}, {AGENT}]
    begun, over = handoff.created_at.ToNanoseconds(), callee.heard[-1].arrival_ns
    assert_never_alone(callee, begun, over, map(unsaid, outside.agent.calls))
    assert_witness_agrees(last.timing.dead_air_ms, callee.heard, begun, over)
    await outside.clear(callee)
    recorded = await read_recording(outside.stage.asterisk.spool, call_id)
    assert_whole(recorded, callee, [BOT, MUSIC, AGENT])


async def test_targets_are_listed_with_the_queue_as_it_is(outside: Outside) -> None:
    answer: Any = outside.service.ListTargets(pb.ListTargetsRequest())
    found = {each.target.queue or each.target.endpoint: each for each in (await answer).targets}
    assert found["voicefork"].members == 1
    assert found["voicefork"].open
    assert found["PJSIP/agent-1"].open


async def test_a_report_of_a_handoff_is_counted_once(outside: Outside) -> None:
    outside.behave(ring_seconds=0.2)
    outside.agent.behaviour = Behaviour(ring_seconds=0.1)
    call_id = await outside.place(fresh())
    callee = await outside.callee.next_call()
    await hears(callee, BOT)
    handoff = await outside.escalate(request_id=fresh(), call_id=call_id)
    before = await repeated(outside)
    report = pb.ReportOutcomeRequest(handoff_id=handoff.handoff_id, repeated_information=True)
    for _ in range(2):
        answer: Any = outside.service.ReportOutcome(report)
        await answer
    assert await repeated(outside) == before + 1
    await outside.ended(handoff.handoff_id)
    await outside.clear(callee)


async def repeated(outside: Outside) -> float:
    """Handoffs whose callers had to say it all again, as the metrics say."""
    metrics = f"http://{outside.orchestrator.addresses['admin']}/metrics"
    async with outside.stage.session.get(metrics) as response:
        lines = (await response.text()).splitlines()
    name = "voicefork_handoff_repeated_total "
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
