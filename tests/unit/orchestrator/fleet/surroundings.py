"""A PBX, workers and a meeting place in memory, for calls without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.fleet.call import EnteredCall, ForkHalf, PbxHalf, RtpAddress, Tenant
from orchestrator.fleet.calls import Calls, open_calls
from orchestrator.fleet.effects import Farewell, Party
from orchestrator.fleet.runner import Surroundings
from orchestrator.fleet.states import EntryPolicy
from orchestrator.model import CallId
from orchestrator.telemetry import Metrics

FORK = ForkHalf("w1", "127.0.0.1:9", RtpAddress("127.0.0.1", 4000))


class MemoryPbx:
    """Keeps what it was asked, as "verb channel-or-call"; `failing` maps verbs to errors.

    Implements fleet.ports.Pbx and fleet.entrance.Doorkeeper.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.variables: dict[str, str] = {}
        self._news = asyncio.Condition()

    async def _ask(self, verb: str, whom: str) -> None:
        async with self._news:
            self.asked.append(f"{verb} {whom}")
            self._news.notify_all()
        if verb in self.failing:
            raise self.failing[verb]

    async def until(self, asked: str, times: int = 1) -> None:
        """Waits until it was asked this."""
        async with self._news:
            await self._news.wait_for(lambda: self.asked.count(asked) >= times)

    async def identity(self, channel_id: str, names: tuple[str, ...]) -> tuple[str, ...]:
        await self._ask("identity", channel_id)
        return tuple(self.variables.get(name, "") for name in names)

    async def codec(self, channel_id: str) -> str:
        return "alaw"

    async def answer(self, channel_id: str) -> None:
        await self._ask("answer", channel_id)

    async def start_music(self, channel_id: str) -> None:
        await self._ask("music", channel_id)

    async def stop_music(self, channel_id: str) -> None:
        await self._ask("no-music", channel_id)

    async def start_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None:
        await self._ask("ringing", channel_id)

    async def stop_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None:
        await self._ask("no-ringing", channel_id)

    async def open_bridge(self, call_id: str, channel_id: str) -> None:
        await self._ask("bridge", call_id)

    async def close_bridge(self, call_id: str) -> None:
        await self._ask("no-bridge", call_id)

    async def open_talkback(
        self, call_id: str, host: str, port: int, codec: str
    ) -> tuple[str, int]:
        await self._ask("talkback", call_id)
        return "127.0.0.1", 5000

    async def open_hosted(self, call_id: str, endpoint: str) -> None:
        await self._ask("hosted", f"{call_id} {endpoint}")

    async def close_talkback(self, call_id: str) -> None:
        await self._ask("no-talkback", call_id)

    async def send_dtmf(self, channel_id: str, digits: str, length_ms: int) -> None:
        await self._ask("dtmf", channel_id)

    async def to_queue(self, channel_id: str) -> None:
        await self._ask("queue", channel_id)

    async def to_dialplan(self, channel_id: str) -> None:
        await self._ask("dialplan", channel_id)

    async def hang_up(self, channel_id: str) -> None:
        await self._ask("hang-up", channel_id)


class MemoryWorkers:
    """Workers that take everything. Implements fleet.ports.Workers."""

    def __init__(self) -> None:
        self.attached: asyncio.Queue[EnteredCall] = asyncio.Queue()
        self.detached: asyncio.Queue[Farewell] = asyncio.Queue()
        self.living = True

    async def attach(
        self, fork: ForkHalf, call: EnteredCall, address: RtpAddress, *, answered: bool
    ) -> None:
        self.attached.put_nowait(call)

    async def tell_answered(self, fork: ForkHalf, call_id: CallId) -> None: ...

    async def tell_party(self, fork: ForkHalf, call_id: CallId, party: Party) -> None: ...

    async def detach(self, fork: ForkHalf, call_id: CallId, farewell: Farewell) -> None:
        self.detached.put_nowait(farewell)

    async def alive(self, fork: ForkHalf) -> bool:
        return self.living


class MemoryMeeting:
    """Finds `fork` for every call, at once; None = never. Implements fleet.ports.Meeting."""

    def __init__(self, fork: ForkHalf | None) -> None:
        self.fork = fork

    async def wait_for_fork(self, tenant: Tenant, call_id: CallId, half: PbxHalf) -> ForkHalf:
        if self.fork is None:
            await asyncio.Event().wait()
        assert self.fork is not None
        return self.fork

    async def fork_half(self, tenant: Tenant, call_id: CallId) -> ForkHalf | None:
        return self.fork

    async def leave(self, tenant: Tenant, call_id: CallId) -> None: ...


class Stage:
    """Calls, and the surroundings they live in."""

    def __init__(self, calls: Calls, pbx: MemoryPbx, workers: MemoryWorkers) -> None:
        self.calls = calls
        self.pbx = pbx
        self.workers = workers

    async def until_empty(self) -> None:
        await self.calls.drain(60.0)


@asynccontextmanager
async def open_stage(
    *, fork: ForkHalf | None = FORK, max_calls: int = 10, policy: EntryPolicy | None = None
) -> AsyncIterator[Stage]:
    pbx, workers = MemoryPbx(), MemoryWorkers()
    around = Surroundings(
        pbx,
        workers,
        MemoryMeeting(fork),
        policy or EntryPolicy(),
        Metrics(),
        orchestrator="127.0.0.1:7070",
        node="lab",
        app="voicefork-0",
    )
    async with asyncio.timeout(10), open_calls(around, max_calls) as calls:
        yield Stage(calls, pbx, workers)
