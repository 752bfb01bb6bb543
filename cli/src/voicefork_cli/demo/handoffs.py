"""Following a call's handoff over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from voicefork.handoff.v1 import handoff_pb2, handoff_pb2_grpc

from voicefork_cli.demo.timeline import Timeline

FOUND_SECONDS = 5.0


def nanoseconds(handoff: handoff_pb2.Handoff) -> int:
    """When it became what it is."""
    return int(handoff.changed_at.ToNanoseconds())


def told(handoff: handoff_pb2.Handoff) -> str:
    """A handoff's state in one line; numbers of a newer contract stay numbers."""
    phase = _name(handoff_pb2.Phase, handoff.phase, "PHASE_")
    outcome = _name(handoff_pb2.Outcome, handoff.outcome, "OUTCOME_")
    return f"{phase} ({outcome})" if handoff.outcome else phase


def outcome_name(handoff: handoff_pb2.Handoff) -> str:
    return _name(handoff_pb2.Outcome, handoff.outcome, "OUTCOME_")


def _name(enum: Any, number: int, prefix: str) -> str:
    try:
        return str(enum.Name(number)).removeprefix(prefix)
    except ValueError:
        return str(number)


async def follow_handoff(
    address: str,
    call_id: str,
    timeline: Timeline,
    on_phase: Callable[[handoff_pb2.Handoff], None],
) -> list[handoff_pb2.Handoff]:
    """Every revision of the call's handoff until nothing about it changes any more.

    Raises grpc.aio.AioRpcError, TimeoutError when the call has none within 5 s.
    """
    seen: list[handoff_pb2.Handoff] = []
    async with grpc.aio.insecure_channel(address) as channel:
        service = handoff_pb2_grpc.HandoffServiceStub(channel)
        async with asyncio.timeout(FOUND_SECONDS):
            handoff_id = await _found(service, call_id)
        phase = handoff_pb2.PHASE_UNSPECIFIED
        changes: Any = service.WatchHandoff(handoff_pb2.WatchHandoffRequest(handoff_id=handoff_id))
        async for change in changes:
            seen.append(change.handoff)
            if change.handoff.phase != phase:
                phase = change.handoff.phase
                timeline.add(nanoseconds(change.handoff), "handoff", told(change.handoff))
                on_phase(change.handoff)
    return seen


async def _found(service: handoff_pb2_grpc.HandoffServiceStub, call_id: str) -> str:
    request = handoff_pb2.GetHandoffRequest(call_id=call_id)
    while True:
        try:
            answer: Any = service.GetHandoff(request)
            return str((await answer).handoff.handoff_id)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(0.02)
