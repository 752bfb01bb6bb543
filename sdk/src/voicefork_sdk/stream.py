"""One Converse stream: moves messages between gRPC and the conversation it carries."""

from __future__ import annotations

import asyncio
import logging

import grpc
from grpc.aio import ServicerContext
from voicefork.agent.v1 import agent_pb2 as pb

from voicefork_sdk.conversation import Conversation
from voicefork_sdk.errors import OpenRejected

log = logging.getLogger(__name__)

Context = ServicerContext[pb.ConverseRequest, pb.ConverseResponse]

_OPEN_SECONDS = 3.0
_WRITE_SECONDS = 10.0


async def read_open(context: Context) -> pb.ConverseRequest:
    """The first message, which must be Open. Raises OpenRejected."""
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            first = await context.read()
    except TimeoutError:
        raise OpenRejected(
            f"no Open within {_OPEN_SECONDS:g} s", grpc.StatusCode.DEADLINE_EXCEEDED
        ) from None
    if not isinstance(first, pb.ConverseRequest) or first.WhichOneof("message") != "open":
        raise OpenRejected("the first message must be Open", grpc.StatusCode.INVALID_ARGUMENT)
    return first


class Stream:
    """Lives as long as the RPC; the conversation may live longer."""

    def __init__(self, context: Context, conversation: Conversation, number: int) -> None:
        self._context = context
        self._conversation = conversation
        self._number = number  # from Conversation.attach
        self._seq = 0

    async def run(self) -> None:
        """Returns when the conversation is over, or another stream carries it, or it broke."""
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write_all())
            reader = tasks.create_task(self._read_all(writer))
            await asyncio.wait([writer])
            reader.cancel()

    async def _read_all(self, writer: asyncio.Task[None]) -> None:
        while isinstance(request := await self._context.read(), pb.ConverseRequest):
            if not self._conversation.is_carried_by(self._number):
                return  # another stream says it again, by its own count
            self._conversation.receive(request)
        if not self._conversation.is_ended:
            log.warning("stream broke without Close")
            writer.cancel()

    async def _write_all(self) -> None:
        while (response := await self._conversation.next_response(self._number)) is not None:
            self._seq += 1
            response.seq = self._seq
            async with asyncio.timeout(_WRITE_SECONDS):
                await self._context.write(response)
