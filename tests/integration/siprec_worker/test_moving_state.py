"""What comes of a call while it moves: at the worker it leaves, and at the one it goes to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from siprec_worker.net.passing_on import PASSED_ON
from voicefork.agent.v1 import agent_pb2
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2
from voicefork_cli.lab.processes import Lab
from voicefork_sdk.events import Freeze, HandoffUpdate
from voicefork_sdk.model import GapCause

from tests.builders.moving_forks import Fork, Pooled, open_pooled, until
from tests.builders.stalling_path import StallingPath, open_stalling_path

pytestmark = pytest.mark.alone

LEASE_SECONDS, BACK_SECONDS = 1.2, 3.0
UNSAID_SECONDS = 0.5  # of audio at w2, more than there is between two beats
UPDATE = agent_pb2.HandoffUpdate(handoff_id="h1", phase=handoff_pb2.PHASE_QUEUED, revision=1)


class Move:
    """Of one call from w1 to w2; the AI acknowledges nothing there, and so w1 waits for 1.2 s.

    What a slow machine asks w1 later than that is passed on, and comes to the same.
    """

    def __init__(
        self, pooled: Pooled, fork: Fork, path: StallingPath, work: asyncio.TaskGroup
    ) -> None:
        self.pooled, self.fork, self.path = pooled, fork, path
        (self.heard,) = pooled.agent.heard.values()
        self.new_dies = False
        self.former, self.new = pooled.control("w1"), pooled.control("w2")
        self._done = work.create_task(self._hand_over())

    async def _hand_over(self) -> None:
        to = self.pooled.workers["w2"].addresses["control"]
        request = worker_pb2.HandOverRequest(call_id=self.fork.call_id, to=to)
        try:
            await self.former.HandOver(request)
        except grpc.aio.AioRpcError:
            if not self.new_dies:
                raise

    async def is_under_way(self) -> None:
        """Its RTP goes to w2, and w1 has still to say what it had."""

        async def arrived() -> bool:
            return await self.pooled.owners() == {self.pooled.uri("w2")}

        await until(arrived)

    async def is_over(self) -> None:
        await self._done

    async def is_forgotten(self) -> bool:
        """Redis has nothing of it, and nothing more to say of it to who lives."""
        lost = [f"voicefork:pool:lost:{name}" for name in self.pooled.workers]
        found = await self.pooled.client.keys("voicefork:pool:fork*")
        return not found and not await self.pooled.client.exists(*lost)

    async def keepers(self) -> list[str]:
        """The living workers that have the call."""
        state = agent_pb2.CallState.STATE_ANSWERED
        request = worker_pb2.SetCallStateRequest(call_id=self.fork.call_id, state=state)
        found = []
        for name in self.pooled.workers:
            with suppress(grpc.aio.AioRpcError):
                await self.pooled.control(name).SetCallState(request, metadata=(PASSED_ON,))
                found.append(name)
        return found

    async def hears_nothing(self) -> bool:
        """For half a second."""
        pieces = len(self.heard.pieces)
        await asyncio.sleep(0.5)
        return len(self.heard.pieces) == pieces

    async def hears_again(self) -> None:
        pieces = len(self.heard.pieces)
        await until(lambda: len(self.heard.pieces) > pieces + 10)


@asynccontextmanager
async def open_move(lab: Lab, *others: str, **settings: None) -> AsyncIterator[Move]:
    async with open_pooled(lab) as pooled:
        ai = pooled.agent_url.removeprefix("grpc://")
        async with open_stalling_path(ai) as (path, here):
            pooled.agent_url = f"grpc://{here}"
            await pooled.add_workers("w1", "w2", *others)
            fork = await pooled.begin([pooled.uri("w1")], None, **settings)
            await pooled.listening()
            await pooled.stored(1)
            path.stall()
            async with asyncio.TaskGroup() as work:
                move = Move(pooled, fork, path, work)
                await move.is_under_way()
                yield move


async def test_card_data_that_begins_while_a_call_moves_reaches_nobody_through_either_worker(
    lab: Lab,
) -> None:
    async with open_move(lab) as move:
        await move.former.Pause(worker_pb2.PauseRequest(call_id=move.fork.call_id))
        await move.is_over()
        await until(lambda: GapCause.PAUSED in [gap.cause for gap in move.heard.gaps])
        assert await move.hears_nothing()
        # Who has not learnt of the move yet asks the former worker.
        await move.former.Resume(worker_pb2.ResumeRequest(call_id=move.fork.call_id))
        await move.hears_again()


async def test_what_the_new_worker_is_asked_before_it_speaks_to_the_ai_is_told_once(
    lab: Lab,
) -> None:
    async with open_move(lab) as move:
        call_id = move.fork.call_id
        await move.former.Freeze(worker_pb2.FreezeRequest(call_id=call_id, reason="a human"))
        await move.new.Unfreeze(worker_pb2.UnfreezeRequest(call_id=call_id))
        await move.new.NotifyHandoff(
            worker_pb2.NotifyHandoffRequest(call_id=call_id, update=UPDATE)
        )
        await move.is_over()
        await move.hears_again()
        told = [one for one in move.heard.told if isinstance(one, Freeze | HandoffUpdate)]
        assert [type(one) for one in told] == [Freeze, HandoffUpdate]


async def test_a_call_that_ends_at_its_former_worker_while_it_moves_ends_at_the_new_one(
    lab: Lab,
) -> None:
    async with open_move(lab, owner=None) as move:  # keeps to the first Contact, as OpenSIPS does
        pooled = move.pooled
        await pooled.stop()
        await move.is_over()
        await until(move.is_forgotten)


async def test_an_ai_that_is_dialled_for_the_voice_is_dialled_once_in_a_call_that_moves(
    lab: Lab,
) -> None:
    async with open_pooled(lab) as pooled:
        await pooled.add_workers("w1", "w2", options=("--dial", "talkback"))
        fork = await pooled.begin([pooled.uri("w1")])
        await pooled.stored(1)
        stored = f"voicefork:pool:fork:{fork.client.call_id}"
        state, fence = await pooled.client.hmget(stored, "state", "fence")
        assert isinstance(state, bytes)
        assert isinstance(fence, bytes)
        new = pooled.control("w2")
        # As w1 would ask for.
        await new.Adopt(
            worker_pb2.AdoptRequest(call_state=state, fence=int(fence), from_worker="w1")
        )
        await new.AttachTalkback(
            worker_pb2.AttachTalkbackRequest(
                call_id=fork.call_id,
                remote=worker_pb2.RtpAddress(host="127.0.0.1", port=9),
                codec=worker_pb2.TALKBACK_CODEC_PCMU,
                call_state=agent_pb2.CallState.STATE_ANSWERED,
            )
        )
        await new.CarryOn(worker_pb2.CarryOnRequest(call_id=fork.call_id))
        await pooled.listening()
        assert pooled.agent.begun == 1


async def test_a_call_whose_new_worker_dies_before_it_speaks_to_the_ai_is_adopted(
    lab: Lab,
) -> None:
    async with open_move(lab, "w3") as move:
        pooled, heard = move.pooled, move.heard
        move.new_dies = True
        await asyncio.sleep(UNSAID_SECONDS)
        killed = pooled.kill("w2")
        move.path.heal()  # w1 may adopt it, and speak to the AI on the connection that it has
        await until(heard.switched)
        assert time.time() - killed < LEASE_SECONDS + BACK_SECONDS
        await move.is_over()
        await move.hears_again()
        assert heard.untold() == 0
        assert pooled.agent.begun == 1
        (keeper,) = await move.keepers()  # w1 or w3
        assert await pooled.owners() == {pooled.uri(keeper)}
        assert await pooled.client.scard(f"voicefork:pool:forks:{keeper}") == 1
        await pooled.stop()
        await until(move.is_forgotten)
