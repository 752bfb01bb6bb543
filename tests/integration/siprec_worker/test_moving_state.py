"""What comes of a call while it moves: at the worker it leaves, and at the one it goes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from voicefork.agent.v1 import agent_pb2
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2
from voicefork_cli.lab.processes import Lab
from voicefork_sdk.events import Freeze, HandoffUpdate
from voicefork_sdk.model import GapCause

from tests.builders.moving_forks import Fork, Pooled, open_pooled, until
from tests.builders.stalling_path import open_stalling_path

pytestmark = pytest.mark.alone


UPDATE = agent_pb2.HandoffUpdate(handoff_id="h1", phase=handoff_pb2.PHASE_QUEUED, revision=1)


class Move:
    """Of one call from w1 to w2; the AI acknowledges nothing there, and so w1 waits for 1.2 s.

    What a slow machine asks w1 later than that is passed on, and comes to the same.
    """

    def __init__(self, pooled: Pooled, fork: Fork, work: asyncio.TaskGroup) -> None:
        self.pooled, self.fork = pooled, fork
        (self.heard,) = pooled.agent.heard.values()
        self.former, self.new = pooled.control("w1"), pooled.control("w2")
        self._done = work.create_task(self._hand_over())

    async def _hand_over(self) -> None:
        to = self.pooled.workers["w2"].addresses["control"]
        request = worker_pb2.HandOverRequest(call_id=self.fork.call_id, to=to)
        await self.former.HandOver(request)

    async def is_under_way(self) -> None:
        """Its RTP goes to w2, and w1 has still to say what it had."""

        async def arrived() -> bool:
            return await self.pooled.owners() == {self.pooled.uri("w2")}

        await until(arrived)

    async def is_over(self) -> None:
        await self._done

    async def hears_nothing(self) -> bool:
        """For half a second."""
        pieces = len(self.heard.pieces)
        await asyncio.sleep(0.5)
        return len(self.heard.pieces) == pieces

    async def hears_again(self) -> None:
        pieces = len(self.heard.pieces)
        await until(lambda: len(self.heard.pieces) > pieces + 10)


@asynccontextmanager
async def open_move(lab: Lab, **settings: None) -> AsyncIterator[Move]:
    async with open_pooled(lab) as pooled:
        ai = pooled.agent_url.removeprefix("grpc://")
        async with open_stalling_path(ai) as (path, here):
            pooled.agent_url = f"grpc://{here}"
            await pooled.add_worker("w1")
            fork = await pooled.begin([pooled.uri("w1")], None, **settings)
            await pooled.listening()
            await pooled.stored(1)
            await pooled.add_worker("w2")
            path.stall()
            async with asyncio.TaskGroup() as work:
                move = Move(pooled, fork, work)
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

        async def forgotten() -> bool:
            return not await pooled.client.keys("voicefork:pool:fork*")

        await until(forgotten, 5)


async def test_an_ai_that_is_dialled_for_the_voice_is_dialled_once_in_a_call_that_moves(
    lab: Lab,
) -> None:
    async with open_pooled(lab) as pooled:
        for name in ("w1", "w2"):
            await pooled.add_worker(name, "--dial", "talkback")
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
