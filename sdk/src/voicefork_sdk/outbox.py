"""What the agent says, on its way to the stream: bounded, in order, speech withdrawable.

Speech is put only while there is room (`has_room`); everything else is small and goes at once, up
to a limit that only a runaway agent or a stuck stream reaches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

from voicefork.agent.v1 import agent_pb2 as pb

from voicefork_sdk.errors import CallEnded

_MAX_SPEECH = 32  # pieces of at most 500 ms
_MAX_MESSAGES = 1000


class Outbox:
    """Filled by the call, emptied by the stream's writer."""

    def __init__(self) -> None:
        self._waiting: deque[pb.ConverseResponse] = deque()
        self._changed = asyncio.Event()
        self._speech = 0
        self.is_closed = False

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def has_room(self) -> bool:
        """Room for one more piece of speech."""
        return self._speech < _MAX_SPEECH

    def put(self, message: pb.ConverseResponse, *, first: bool = False) -> None:
        """Queues a message. Raises CallEnded when nothing can be sent any more."""
        if self.is_closed:
            raise CallEnded("the call is over")
        if len(self._waiting) >= _MAX_MESSAGES:
            raise CallEnded(f"{_MAX_MESSAGES} messages wait for the worker: the stream is stuck")
        self._speech += message.HasField("speak")
        if first:
            self._waiting.appendleft(message)
        else:
            self._waiting.append(message)
        self._changed.set()

    def withdraw_speech(self, utterance_ids: Collection[str] | None) -> None:
        """Removes queued speech of these utterances; None: of all."""
        self._waiting = deque(
            message
            for message in self._waiting
            if not message.HasField("speak")
            or (utterance_ids is not None and message.speak.utterance_id not in utterance_ids)
        )
        self._speech = sum(message.HasField("speak") for message in self._waiting)

    def pop(self) -> pb.ConverseResponse:
        message = self._waiting.popleft()
        self._speech -= message.HasField("speak")
        return message

    def close(self) -> None:
        """Nothing more is taken; what waits can still be popped."""
        self.is_closed = True
        self.wake()

    def wake(self) -> None:
        """Makes a waiting writer look again."""
        self._changed.set()

    async def wait(self) -> None:
        """Returns at the next change. For one writer at a time."""
        self._changed.clear()
        await self._changed.wait()
