"""Calls for the tests of the sinks: an opening, audio that names itself, and who receives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from siprec_worker.media.model import LegAudio
from siprec_worker.session import model as m
from siprec_worker.session.ports import AgentConnector, AgentStream
from siprec_worker.sinks.catalogue import connector_for
from siprec_worker.sinks.options import AgentOptions

from tests.fakes.agent_server import AgentServer

# No test ends by these limits, however slow the machine is; one that is about a limit sets it.
PATIENT = AgentOptions(ack_seconds=0.1, opening_seconds=20.0, close_seconds=20.0)
LEGS = (m.Leg(1, m.LegKind.CUSTOMER, "a"), m.Leg(2, m.LegKind.PBX, "b"))
CHUNK = 160  # samples of 20 ms


class Session:
    """The receiving end of one stream: what the AI said, and someone to wait for it."""

    def __init__(self) -> None:
        self.heard: list[m.FromAgent] = []
        self._news = asyncio.Event()

    def __call__(self, message: m.FromAgent) -> None:
        self.heard.append(message)
        self._news.set()

    async def until(self, met: Callable[[list[m.FromAgent]], bool]) -> None:
        while not met(self.heard):
            self._news.clear()
            await self._news.wait()

    async def opened(self) -> m.Opened:
        await self.until(bool)
        assert isinstance(self.heard[0], m.Opened), self.heard
        return self.heard[0]

    async def lost(self) -> m.AgentLost:
        await self.until(lambda heard: bool(heard) and isinstance(heard[-1], m.AgentLost))
        last = self.heard[-1]
        assert isinstance(last, m.AgentLost)
        return last


def opening(name: str = "call-1", **changes: object) -> m.Open:
    fields: dict[str, object] = {
        "call_id": m.CallId(name),
        "session_id": m.SessionId("s-" + name),
        "role": m.Role.SHADOW,
        "legs": LEGS,
    }
    return m.Open(**(fields | changes))  # type: ignore[arg-type]


def chunk(number: int, salt: int = 0) -> tuple[LegAudio, LegAudio]:
    """20 ms of both legs whose content names the chunk, the leg and the call."""
    return tuple(  # type: ignore[return-value]
        LegAudio(handle, bytes((number * 7 + handle + salt + i) & 0xFF for i in range(4)) * 80)
        for handle in (1, 2)
    )


@asynccontextmanager
async def ticking(connector: AgentConnector) -> AsyncIterator[None]:
    """Flushes every 5 ms, and closes the connector at the end."""

    async def tick() -> None:
        while True:
            connector.flush()
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as tasks:
        flushing = tasks.create_task(tick())
        try:
            yield
        finally:
            await connector.aclose()
            flushing.cancel()


@asynccontextmanager
async def connected(
    scheme: str, server: AgentServer, options: AgentOptions = PATIENT
) -> AsyncIterator[AgentConnector]:
    connector = connector_for(f"{scheme}://127.0.0.1:{server.port}", options)
    async with ticking(connector):
        yield connector


async def eventually(met: Callable[[], bool]) -> None:
    """What the fake has seen raises no event; pytest's own limit ends a wait in vain."""
    while not met():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.005)


async def talk(stream: AgentStream, numbers: range, unacked_ms: int | None = 200) -> None:
    """20 ms of audio every 4 ms, and slower when the AI is: so much of it may be un-acked."""
    for number in numbers:
        while unacked_ms is not None and stream.outstanding[1] >= unacked_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.004)
        stream.send_audio(number * CHUNK, chunk(number))
        await asyncio.sleep(0.004)


def goodbye(stream: AgentStream) -> None:
    stream.close(m.Close(m.CloseReason.CALL_ENDED))
