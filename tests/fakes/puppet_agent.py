"""An AI vendor in the test's own process: it says its tone, and does what the test tells it.

async with open_puppet() as vendor:     # vendor.address for the worker
    puppet = await vendor.puppet(call_id)
    await puppet.say("goodbye", 1600, 600)
    await puppet.escalate(say_first="goodbye")
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from google.protobuf.struct_pb2 import Struct
from voicefork.handoff.v1 import handoff_pb2
from voicefork_cli.measure.pcm import tone
from voicefork_sdk.call import Call
from voicefork_sdk.errors import Frozen
from voicefork_sdk.escalation import Escalation
from voicefork_sdk.events import Audio, Close, Event, Freeze, HandoffUpdate
from voicefork_sdk.model import PCM_8K
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import AgentServer

RATE = PCM_8K.sample_rate
HZ = 1000
AHEAD_MS = 2000  # speech sent before it is played; progress is told more often than that
PIECE_MS = 100
FOUND_SECONDS = 5.0
THAW_SECONDS = 0.02


@dataclass(slots=True)
class Puppet:
    """One call. `told` holds (CLOCK_REALTIME ns, event) of all but the audio."""

    call: Call
    told: list[tuple[int, Event]] = field(default_factory=list)
    talks: bool = True
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def attend(self) -> None:
        self.call.spawn(self._talk())
        async for event in self.call.events():
            if not isinstance(event, Audio):
                self.told.append((time.time_ns(), event))
        self.closed.set()

    async def _talk(self) -> None:
        """The tone for ever, but while it is hushed, or frozen by a handoff."""
        await self.call.answered()
        piece = tone(HZ, RATE * PIECE_MS // 1000).tobytes()
        turn = 0
        while True:
            if self.call.is_frozen or not self.talks:
                await asyncio.sleep(THAW_SECONDS)
                continue
            whole = False
            with suppress(Frozen):
                whole = await self.call.speak(f"talk-{turn}", piece, last=False)
            turn += not whole  # what was cut never goes on under its own name

    async def say(self, utterance_id: str, hz: int, milliseconds: int) -> None:
        """A phrase in place of the tone, now; returns when it has been sent, not when heard."""
        self.talks = False
        self.call.clear()
        samples = tone(hz, RATE * milliseconds // 1000)
        await self.call.speak(utterance_id, samples.tobytes())

    async def escalate(
        self, request: handoff_pb2.EscalateRequest, *, say_first: str = ""
    ) -> Escalation:
        """In the call's own stream."""
        return await self.call.escalate(
            reason=request.reason, intent=request.intent, say_first=say_first, request=request
        )

    @property
    def froze(self) -> list[Freeze]:
        return [event for _, event in self.told if isinstance(event, Freeze)]

    @property
    def updates(self) -> list[HandoffUpdate]:
        return [event for _, event in self.told if isinstance(event, HandoffUpdate)]

    @property
    def close(self) -> tuple[int, Close] | None:
        """When it was told that the call is over for it, and why."""
        return next(((at, event) for at, event in self.told if isinstance(event, Close)), None)

    @property
    def call_id(self) -> str:
        return self.call.opening.call_id


class Vendor:
    """All its calls. Made by `open_puppet`."""

    def __init__(self) -> None:
        self.address = ""
        self._puppets: dict[str, Puppet] = {}
        self._came = asyncio.Event()

    async def on_call(self, call: Call) -> None:
        puppet = Puppet(call)
        self._puppets[call.opening.call_id] = puppet
        self._came.set()
        await puppet.attend()

    async def puppet(self, call_id: str) -> Puppet:
        """The one of that call. Raises TimeoutError when the call does not come."""
        async with asyncio.timeout(FOUND_SECONDS):
            while call_id not in self._puppets:
                self._came.clear()
                await self._came.wait()
        return self._puppets[call_id]


@asynccontextmanager
async def open_puppet() -> AsyncIterator[Vendor]:
    """Serves on loopback while the block runs."""
    vendor = Vendor()
    options = AgentOptions(name="puppet", uplink=(PCM_8K,), downlink=(PCM_8K,), ahead_ms=AHEAD_MS)
    async with AgentServer(vendor.on_call, listen="127.0.0.1:0", options=options) as server:
        vendor.address = server.address
        yield vendor


def story(summary: str = "The caller disputes a charge.", **slots: str) -> handoff_pb2.Context:
    """A context as a bot collects it."""
    collected = Struct()
    collected.update(slots)
    return handoff_pb2.Context(summary=summary, slots=collected)
