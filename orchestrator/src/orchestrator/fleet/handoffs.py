"""Where calls and handoffs meet: a call is found, lent and taken back; its worker is spoken to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import grpc
from voicefork.agent.v1 import agent_pb2
from voicefork.handoff.v1 import handoff_pb2
from voicefork.worker.v1 import worker_pb2

from orchestrator import model
from orchestrator.errors import CallUnknown, WorkerError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import ForkHalf
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.effects import Farewell
from orchestrator.fleet.worker_control import WorkerControls
from orchestrator.handoff.effects import Release

Talkback = Callable[[str], str | None]
"""The bot's channel of a call."""


def _returned(handoff: model.Handoff) -> bool:
    """Whether the caller is with the bot again; a superseded handoff leaves them to the next."""
    match handoff.phase:
        case model.Phase.RETURNED:
            return True
        case model.Phase.CANCELLED:
            return handoff.outcome is not model.Outcome.SUPERSEDED
        case _:
            return False


class CallPlaces:
    """Finds live calls for the handoffs (implements handoff.ports.Calls)."""

    def __init__(
        self, calls: Calls, node: str, talkback: Talkback, bridge: Callable[[str], str]
    ) -> None:
        """`node`: of calls that name none. `bridge`: of a call; empty where there is none ever."""
        self._calls = calls
        self._node = node
        self._talkback = talkback
        self._bridge = bridge

    def locate(self, call: model.CallId) -> model.Place | None:
        view = self._calls.view(call)
        if view is None or not view.lendable:
            return None
        bridge = self._bridge(call)
        return model.Place(
            call_id=call,
            tenant=view.tenant,
            node=model.NodeName(view.node or self._node),
            caller=model.ChannelId(view.channel_id),
            bot=model.ChannelId(self._talkback(call) or ""),
            bridge=model.BridgeId(bridge),
            dialplan_only=not bridge,
        )


class HandoffWorkers:
    """The worker of a call, for its handoff (implements handoff.ports.WorkerLink).

    What a handoff tells the worker first and last also lends the call to it and takes it back.
    """

    def __init__(self, calls: Calls, controls: WorkerControls, limit_seconds: float = 1.0) -> None:
        self._calls = calls
        self._controls = controls
        self._limit = limit_seconds
        self._watching: dict[model.HandoffId, ForkHalf] = {}  # outlives the call in the queue

    async def freeze(self, call: model.CallId, phrase: str, reason: str) -> None:
        request = worker_pb2.FreezeRequest(call_id=call, phrase_utterance_id=phrase, reason=reason)
        self._calls.post(call, on.HandoffTook())  # before a worker that is slow to answer
        fork = self._fork(call)
        await self._controls.within_limit(
            fork, self._controls.stub(fork).Freeze(request, timeout=self._limit)
        )

    async def unfreeze(self, call: model.CallId) -> None:
        fork = self._fork(call)
        request = worker_pb2.UnfreezeRequest(call_id=call)
        await self._controls.within_limit(
            fork, self._controls.stub(fork).Unfreeze(request, timeout=self._limit)
        )

    async def drop_bot(self, call: model.CallId, reason: Release) -> None:
        if self._calls.view(call) is None:
            return  # the call is over, and has said goodbye itself
        fork = self._fork(call)
        if reason is Release.HUMAN_CONNECTED:
            request = worker_pb2.SetPartyRequest(
                call_id=call, party=agent_pb2.PartyChange.PARTY_AGENT
            )
            await self._controls.within_limit(
                fork, self._controls.stub(fork).SetParty(request, timeout=self._limit)
            )
        else:
            await self._controls.detach(fork, call, Farewell.LEFT_BOT)

    async def notify(self, handoff: model.Handoff) -> None:
        call_id = handoff.call_id
        self._calls.post(call_id, on.HandoffReturned() if _returned(handoff) else on.HandoffTook())
        update = agent_pb2.HandoffUpdate(
            handoff_id=handoff.handoff_id,
            phase=handoff_pb2.Phase.ValueType(handoff.phase),
            outcome=handoff_pb2.Outcome.ValueType(handoff.outcome),
            revision=handoff.revision,
            request_id=handoff.request_id,
        )
        fork = self._fork(handoff.call_id)
        request = worker_pb2.NotifyHandoffRequest(call_id=handoff.call_id, update=update)
        await self._controls.within_limit(
            fork, self._controls.stub(fork).NotifyHandoff(request, timeout=self._limit)
        )

    async def watch(
        self, call: model.CallId, handoff: model.HandoffId
    ) -> AsyncIterator[model.Witness]:
        fork = self._watching[handoff] = self._fork(call)
        request = worker_pb2.StartWitnessRequest(call_id=call, handoff_id=handoff)
        try:
            async for response in self._controls.stub(fork).StartWitness(request):
                yield _witness(response.report)
        except grpc.aio.AioRpcError as error:
            raise WorkerError(f"witness at {fork.control}: {error.details()}") from error
        finally:
            self._watching.pop(handoff, None)

    async def stop_watching(self, call: model.CallId, handoff: model.HandoffId) -> model.Witness:
        fork = self._watching.get(handoff) or self._fork(call)
        request = worker_pb2.StopWitnessRequest(call_id=call, handoff_id=handoff)
        try:
            answer = await self._controls.stub(fork).StopWitness(request, timeout=self._limit)
        except grpc.aio.AioRpcError as error:
            raise WorkerError(f"witness at {fork.control}: {error.details()}") from error
        return _witness(answer.report)

    def _fork(self, call: model.CallId) -> ForkHalf:
        view = self._calls.view(call)
        if view is None or view.fork is None:
            raise CallUnknown(f"no worker holds call {call}")
        return view.fork


def _witness(report: worker_pb2.WitnessReport) -> model.Witness:
    held, phrase = report.HasField("first_hold_audio_ms"), report.HasField("phrase_end_ms")
    live = report.HasField("both_live_ms")
    return model.Witness(
        first_hold_audio_ms=report.first_hold_audio_ms if held else None,
        silent_ms=report.silent_ms,
        missing_ms=report.missing_ms,
        longest_gap_ms=report.longest_gap_ms,
        one_way=report.one_way,
        watched_ms=report.watched_ms,
        final=report.final,
        phrase_end_ms=report.phrase_end_ms if phrase else None,
        both_live_ms=report.both_live_ms if live else None,
    )
