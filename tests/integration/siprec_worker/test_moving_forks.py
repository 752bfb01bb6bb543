"""Live forks outlive their workers: real processes, real Redis, an AI that counts every sample."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress

import grpc
import pytest
from voicefork.agent.v1 import agent_pb2
from voicefork.worker.v1 import worker_pb2
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.fork_media import open_direct_media
from voicefork_cli.sim.source import Tone
from voicefork_cli.sim.src import ForkState

from tests.builders.moving_forks import Pooled, open_pooled, relayed_media, until
from tests.builders.stalling_path import open_stalling_path

pytestmark = pytest.mark.alone

CALLS = 5
ADOPTED_SECONDS = 10.0  # usually within 2: bench/forks measures it
ROLLING_CALLS = int(os.environ.get("VOICEFORK_ROLLING_CALLS", "20"))
REDIS_AWAY_SECONDS = float(os.environ.get("VOICEFORK_REDIS_AWAY_SECONDS", "5"))


async def begin(pooled: Pooled, worker: str, calls: int = CALLS, **settings: object) -> None:
    for _ in range(calls):
        await pooled.begin([pooled.uri(worker)], **settings)  # type: ignore[arg-type]
    await pooled.listening()
    await pooled.stored(len(pooled.forks))


async def empty(pooled: Pooled) -> bool:
    """Nothing is left in Redis of forks that ended."""
    names = (":fork", ":forks", "fork:owner", ":call")
    return not any([await pooled.client.keys(f"*{name}:*") for name in names])


async def heard_without_a_break(pooled: Pooled) -> None:
    now = time.time()
    await until(lambda: all(h.last_wall > now + 1 for h in pooled.agent.heard.values()))
    assert not pooled.pacer.left_out, "the senders stood still here: they have left packets out"
    assert pooled.agent.broken() == {}


async def hang_up_everything(pooled: Pooled) -> None:
    await pooled.stop()
    await until(lambda: all(h.closed for h in pooled.agent.heard.values()))
    await until(lambda: empty(pooled))


async def test_the_forks_of_a_killed_worker_are_adopted(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1")
        killed = pooled.kill("w1")
        await until(lambda: all(h.last_wall > killed + 2 for h in pooled.agent.heard.values()))
        back = [h.first_after(killed + 0.1) for h in pooled.agent.heard.values()]
        assert max(at - killed for at in back if at) < ADOPTED_SECONDS
        assert pooled.agent.begun == CALLS  # the same conversations
        assert all(h.switched() for h in pooled.agent.heard.values())
        assert await pooled.owners() == {pooled.uri("w2")}
        await hang_up_everything(pooled)


async def test_a_drained_worker_gives_its_calls_away_without_losing_a_sample(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1")
        service = pooled.workers.pop("w1")
        service.program.signal(signal.SIGTERM)
        assert await service.program.wait() == 0
        await heard_without_a_break(pooled)
        assert pooled.agent.begun == CALLS
        await hang_up_everything(pooled)


@pytest.mark.parametrize("stalling", ["w1", "w2"])
async def test_a_worker_that_stands_still_while_calls_move_loses_nothing_of_them(
    lab: Lab, stalling: str
) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1")
        asleep = pooled.workers[stalling].program
        service = pooled.workers.pop("w1")
        service.program.signal(signal.SIGTERM)
        await asyncio.sleep(0.15)  # RTP moves by now
        asleep.signal(signal.SIGSTOP)
        await asyncio.sleep(1.0)
        asleep.signal(signal.SIGCONT)
        assert await service.program.wait() == 0
        await heard_without_a_break(pooled)
        assert pooled.agent.begun == CALLS
        await hang_up_everything(pooled)


async def test_what_an_ai_has_not_acknowledged_goes_along_to_the_other_worker(lab: Lab) -> None:
    async with open_pooled(lab) as pooled:
        ai = pooled.agent_url.removeprefix("grpc://")
        async with open_stalling_path(ai) as (path, here):
            pooled.agent_url = f"grpc://{here}"
            await pooled.add_worker("w1")
            await begin(pooled, "w1")
            await pooled.add_worker("w2")
            await asyncio.sleep(1.0)
            path.stall()  # nothing of what w1 says from now on arrives
            service = pooled.workers.pop("w1")
            service.program.signal(signal.SIGTERM)
            assert await service.program.wait() == 0
            await heard_without_a_break(pooled)
            assert pooled.agent.begun == CALLS
            await hang_up_everything(pooled)


async def test_what_a_worker_that_dies_while_it_hands_over_had_is_told_as_a_gap(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 1)
        (fork,) = pooled.forks
        answered = agent_pb2.CallState.STATE_ANSWERED
        change = worker_pb2.SetCallStateRequest(call_id=fork.call_id, state=answered)
        await pooled.control("w1").SetCallState(change)  # and so it is stored anew
        await asyncio.sleep(0.3)
        stored = f"voicefork:pool:fork:{fork.client.call_id}"
        state, fence = await pooled.client.hmget(stored, "state", "fence")
        assert isinstance(state, bytes)
        assert isinstance(fence, bytes)
        adopt = worker_pb2.AdoptRequest(call_state=state, fence=int(fence), from_worker="w1")
        killed = pooled.kill("w1")
        await pooled.control("w2").Adopt(adopt)  # as w1 would have asked for, a moment before
        (heard,) = pooled.agent.heard.values()
        await until(lambda: heard.last_wall > killed + 4)
        (gap,) = heard.switched()
        assert heard.missing() <= gap.to_pts - gap.from_pts  # none, where w2 was quick
        assert pooled.agent.begun == 1
        await hang_up_everything(pooled)


async def test_what_rtpengine_copies_moves_without_losing_a_sample(lab: Lab) -> None:
    async with AsyncExitStack() as stack:
        pooled = await stack.enter_async_context(open_pooled(lab, "w1", "w2"))
        try:
            rtpengine = await stack.enter_async_context(open_rtpengine(lab, rtp_ports=200))
        except MissingProgramError as error:
            pytest.skip(str(error))
        for _ in range(3):
            media = await stack.enter_async_context(relayed_media(rtpengine, pooled.pacer))
            await pooled.begin([pooled.uri("w1")], media)
        await pooled.listening()
        await pooled.stored(3)
        service = pooled.workers.pop("w1")
        service.program.signal(signal.SIGTERM)
        assert await service.program.wait() == 0
        await heard_without_a_break(pooled)
        assert await pooled.owners() == {pooled.uri("w2")}
        await pooled.add_worker("w3")
        await asyncio.sleep(0.5)
        killed = pooled.kill("w2")
        await until(lambda: all(h.last_wall > killed + 2 for h in pooled.agent.heard.values()))
        back = [h.first_after(killed + 0.1) for h in pooled.agent.heard.values()]
        assert max(at - killed for at in back if at) < ADOPTED_SECONDS
        await hang_up_everything(pooled)


async def test_a_worker_that_only_slept_leaves_its_calls_to_who_has_them(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 2)
        sleeper = pooled.workers["w1"].program
        sleeper.signal(signal.SIGSTOP)
        slept = time.time()
        await until(lambda: all(h.last_wall > slept + 2 for h in pooled.agent.heard.values()))
        sleeper.signal(signal.SIGCONT)
        await asyncio.sleep(2.0)
        assert await pooled.owners() == {pooled.uri("w2")}
        assert pooled.agent.begun == 2
        for fork in pooled.forks:
            assert "BYE" not in [request.method for request in fork.client.requests]
        now = time.time()
        await until(lambda: all(h.last_wall > now for h in pooled.agent.heard.values()))
        await hang_up_everything(pooled)


async def test_a_worker_that_sleeps_for_less_than_its_lease_keeps_its_calls(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 2)
        sleeper = pooled.workers["w1"].program
        for _ in range(3):
            sleeper.signal(signal.SIGSTOP)
            await asyncio.sleep(0.8)
            sleeper.signal(signal.SIGCONT)
            await asyncio.sleep(1.0)
        assert await pooled.owners() == {pooled.uri("w1")}
        assert all(not fork.client.requests for fork in pooled.forks)
        assert pooled.agent.begun == 2
        await hang_up_everything(pooled)


async def test_without_redis_nothing_moves_and_nothing_is_cut(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1")
        pooled.redis.program.signal(signal.SIGSTOP)
        await asyncio.sleep(REDIS_AWAY_SECONDS)
        pooled.redis.program.signal(signal.SIGCONT)
        await asyncio.sleep(3.0)
        await heard_without_a_break(pooled)
        assert await pooled.owners() == {pooled.uri("w1")}
        await hang_up_everything(pooled)


async def test_a_redis_that_forgot_everything_gets_the_forks_again(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 2)
        await pooled.client.flushall()
        await pooled.client.function_flush()

        async def back() -> bool:
            return await pooled.owners() == {pooled.uri("w1")}

        await until(back)
        await pooled.stored(2)
        killed = pooled.kill("w1")
        await until(lambda: all(h.last_wall > killed + 2 for h in pooled.agent.heard.values()))
        assert pooled.agent.begun == 2


async def test_requests_to_the_former_worker_reach_the_owner(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 1, owner=None)  # keeps to the first Contact, as OpenSIPS does
        (fork,) = pooled.forks
        to = pooled.workers["w2"].addresses["control"]
        request = worker_pb2.HandOverRequest(call_id=fork.call_id, to=to)
        await pooled.control("w1").HandOver(request)
        assert await pooled.owners() == {pooled.uri("w2")}
        assert await fork.client.refresh() == 488  # a 200 of w1 would pull the RTP back
        await heard_without_a_break(pooled)
        await hang_up_everything(pooled)


async def test_a_call_that_changes_while_it_moves_is_not_taken_for_lost(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 1)
        (fork,) = pooled.forks
        w1, control = pooled.workers["w1"], pooled.control("w1")
        change = worker_pb2.SetCallStateRequest(
            call_id=fork.call_id, state=agent_pb2.CallState.STATE_ANSWERED
        )
        async with asyncio.TaskGroup() as group:
            request = worker_pb2.HandOverRequest(call_id=fork.call_id)
            moving = group.create_task(_asked(control.HandOver(request)))
            while not moving.done():
                with suppress(grpc.aio.AioRpcError):  # the call has left
                    await control.SetCallState(change)
                await asyncio.sleep(0.005)
        await heard_without_a_break(pooled)
        assert await pooled.owners() == {pooled.uri("w2")}
        assert "another worker has it" not in w1.program.log_text()
        await hang_up_everything(pooled)


async def _asked(answer: Awaitable[object]) -> None:
    await answer


async def test_what_eight_ais_have_not_acknowledged_is_no_message_too_large(lab: Lab) -> None:
    async with open_pooled(lab, "w1") as pooled:
        left = [bytes(100_000)] * 10
        streams = [worker_pb2.AcknowledgedStream(agent=f"{n}", left=left) for n in range(8)]
        request = worker_pb2.CarryOnRequest(call_id="nobody", streams=streams)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await pooled.control("w1").CarryOn(request)
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND  # and so it was read


async def test_an_adopted_call_keeps_the_ai_that_it_has(lab: Lab) -> None:
    async with open_pooled(lab, "w1") as pooled:
        await begin(pooled, "w1", 1)
        (fork,) = pooled.forks
        pooled.agent_url = "discard:"  # what the new worker's own route says
        to = (await pooled.add_worker("w2")).addresses["control"]
        request = worker_pb2.HandOverRequest(call_id=fork.call_id, to=to)
        await pooled.control("w1").HandOver(request)
        assert await pooled.owners() == {pooled.uri("w2")}
        await heard_without_a_break(pooled)
        await hang_up_everything(pooled)


async def test_without_redis_the_former_worker_passes_a_bye_on_to_the_owner(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 1, owner=None)
        (fork,) = pooled.forks
        to = pooled.workers["w2"].addresses["control"]
        request = worker_pb2.HandOverRequest(call_id=fork.call_id, to=to)
        await pooled.control("w1").HandOver(request)
        pooled.redis.program.signal(signal.SIGSTOP)
        await pooled.stop()
        await until(lambda: all(h.closed for h in pooled.agent.heard.values()))
        pooled.redis.program.signal(signal.SIGCONT)
        await until(lambda: empty(pooled))


async def test_a_caller_who_is_gone_leaves_no_fork_where_the_bye_was_lost(lab: Lab) -> None:
    async with open_pooled(lab, "w1") as pooled:
        media = pooled.stack.enter_context(open_direct_media(pooled.pacer, Tone(437), Tone(653)))
        fork = await pooled.begin([pooled.uri("w1")], media)
        await pooled.listening()
        reason = agent_pb2.Close.REASON_CALL_ENDED
        asked = worker_pb2.DetachTalkbackRequest(call_id=fork.call_id, reason=reason)
        await pooled.control("w1").DetachTalkback(asked)
        await asyncio.sleep(4.0)
        assert fork.client.state is ForkState.RECORDING  # its RTP goes on
        await media.stop()
        await until(lambda: "BYE" in [one.method for one in fork.client.requests])
        await until(lambda: empty(pooled))


async def test_nothing_is_left_in_redis_of_a_fork_that_nobody_could_adopt(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 2, reinvite_status=488)
        assert len(await pooled.client.keys("voicefork:v1:*:call:*")) == 2
        pooled.kill("w1")
        await until(lambda: empty(pooled))


async def test_a_client_that_follows_no_reinvite_keeps_its_worker_until_it_ends(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 2, reinvite_status=488)
        service = pooled.workers.pop("w1")
        service.program.signal(signal.SIGTERM)
        await asyncio.sleep(3.0)
        assert service.program.exit_code is None
        await heard_without_a_break(pooled)
        await pooled.stop()
        assert await service.program.wait() == 0
        assert service.program.log_text().count("follows no re-INVITE") == 1


async def test_a_fork_that_does_not_follow_stays_and_the_others_of_its_client_move(
    lab: Lab,
) -> None:
    async with open_pooled(lab, "w1", "w2") as pooled:
        await begin(pooled, "w1", 1, reinvite_status=488)
        (stuck,) = pooled.forks
        await begin(pooled, "w1", 3)
        service = pooled.workers.pop("w1")
        service.program.signal(signal.SIGTERM)

        async def moved() -> bool:
            owners = [await pooled.owner(fork.client.call_id) for fork in pooled.forks[1:]]
            return owners == [pooled.uri("w2")] * 3

        async def forgotten() -> bool:
            return not await pooled.pool.call("vf_stays", "-")

        await until(moved)
        assert await pooled.owner(stuck.client.call_id) != pooled.uri("w2")
        await until(forgotten)  # once the AIs have what the moved ones left behind
        await heard_without_a_break(pooled)
        await pooled.stop()
        assert await service.program.wait() == 0


@pytest.mark.timeout(180)
async def test_a_rolling_restart_cuts_no_call_and_loses_no_sample(lab: Lab) -> None:
    async with open_pooled(lab, "w1", "w2", "w3") as pooled:
        await asyncio.sleep(0.5)
        for _ in range(ROLLING_CALLS):
            await pooled.begin(await pooled.pick())
        await pooled.listening()
        await pooled.stored(ROLLING_CALLS)
        for name in ("w1", "w2", "w3"):
            old = pooled.workers.pop(name)
            old.program.signal(signal.SIGTERM)
            assert await old.program.wait() == 0
            await pooled.add_worker(f"{name}-new")
            await asyncio.sleep(1.0)
        assert all(fork.client.state.value == "recording" for fork in pooled.forks)
        await heard_without_a_break(pooled)
        assert pooled.agent.begun == ROLLING_CALLS
        await hang_up_everything(pooled)
