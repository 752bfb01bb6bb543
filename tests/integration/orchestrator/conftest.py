"""A real Asterisk, a real redis-server, the orchestrator's own process and a worker's fake."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from orchestrator.ari.client import AriClient
from orchestrator.ari.rest import open_rest
from orchestrator.telemetry import Metrics
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, open_asterisk
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.ours import OrchestratorPlan, Service, open_orchestrator
from voicefork_cli.lab.processes import Lab, open_lab
from voicefork_cli.lab.redis import open_redis

from tests.fakes.ari_node import PASSWORD, USER, FakeAriNode, open_ari_node
from tests.fakes.worker_control import FakeWorker, open_fake_worker

FAILURE_SECONDS = 20.0  # for what is there in milliseconds, unless something is wrong
# How long our own code, in this process, waits for Redis before it goes on without. Where a test
# has a real one, that is never away: one that was merely late must not be taken for it.
LIMITS = (
    "bus.audit.APPEND_SECONDS",
    "bus.handoff_store.LIMIT_SECONDS",
    "bus.outcome_reports.LIMIT_SECONDS",
    "bus.placed.LIMIT_SECONDS",
    "bus.redis_stream.APPEND_SECONDS",
    "fleet.dialplan_callers.LIMIT_SECONDS",
    "fleet.slots.LIMIT_SECONDS",
    "handoff.comeback.STORE_SECONDS",
    "handoff.following.LOAD_SECONDS",
    "handoff.intake.CREATE_SECONDS",
    "handoff.intake.TAKING_SECONDS",
    "handoff.journal.WRITE_SECONDS",
)
UNHURRIED = (
    *("--drain-seconds", "0"),
    *("--rendezvous-deadline", "30", "--bot-speaks-deadline", "30", "--adoption-deadline", "30"),
)
"""A test that is about the end of such a wait gives its own, and no other ends by a stall."""

# A member that cannot be reached: callers stay in the queue, with its music.
AGENT = {"agent-1": "sip:agent-1@127.0.0.1:9"}


@dataclass(frozen=True, slots=True)
class Pbx:
    """The Asterisk node, and what the test itself asks of it."""

    asterisk: Asterisk
    session: aiohttp.ClientSession

    @property
    def sip(self) -> tuple[str, int]:
        host, _, port = self.asterisk.sip.partition(":")
        return host, int(port)

    async def listed(self, what: str) -> list[dict[str, object]]:
        async with self.session.get(f"{self.asterisk.ari_url}/{what}") as response:
            found: list[dict[str, object]] = await response.json()
            return found

    async def applications(self) -> list[str]:
        """Which dialplan application each channel is in."""
        dialplans = [channel["dialplan"] for channel in await self.listed("channels")]
        return [str(place["app_name"]) for place in dialplans if isinstance(place, dict)]

    async def wait_in_queue(self) -> None:
        """The caller, and nobody else, is in the queue."""
        await self._until(self._in_queue)

    async def wait_empty(self) -> None:
        """No channel and no bridge is left on the node."""
        await self._until(self._is_empty)

    async def _in_queue(self) -> bool:
        return "Queue" in await self.applications() and not await self.listed("bridges")

    async def _is_empty(self) -> bool:
        return not await self.listed("channels") and not await self.listed("bridges")

    async def _until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async def found() -> bool | None:
            return await holds() or None

        await self.asterisk.program.wait_until(found, FAILURE_SECONDS)

    async def hang_up_all(self) -> None:
        for channel in await self.listed("channels"):
            await self.session.delete(f"{self.asterisk.ari_url}/channels/{channel['id']}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab() -> AsyncIterator[Lab]:
    async with open_lab() as lab:
        yield lab


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asterisk(lab: Lab) -> AsyncIterator[Asterisk]:
    plan = AsteriskPlan(agents=AGENT, queues={"voicefork": tuple(AGENT)})
    try:
        async with open_asterisk(lab, plan) as asterisk:
            yield asterisk
    except MissingProgramError as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis_server(lab: Lab) -> AsyncIterator[str]:
    try:
        async with open_redis(lab) as redis:
            yield redis.url
    except MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture
def redis_url(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Redis that lives, and that is waited for."""
    for limit in LIMITS:
        monkeypatch.setattr(f"orchestrator.{limit}", FAILURE_SECONDS)
    return redis_server


@pytest.fixture
async def pbx(asterisk: Asterisk) -> AsyncIterator[Pbx]:
    async with aiohttp.ClientSession(headers=asterisk.authorization) as session:
        pbx = Pbx(asterisk, session)
        yield pbx
        await pbx.hang_up_all()


@pytest.fixture
async def worker() -> AsyncIterator[FakeWorker]:
    async with open_fake_worker() as worker:
        yield worker


@pytest.fixture
def call_id() -> str:
    return f"call-{secrets.token_hex(6)}"


Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start(asterisk: Asterisk, redis_url: str) -> AsyncIterator[Start]:
    """`await start("--waiting", "ringing")`: the orchestrator's command, ready."""
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(open_lab())

        async def start(*options: str) -> Service:
            plan = OrchestratorPlan(redis_url, asterisk, options=(*UNHURRIED, *options))
            return await stack.enter_async_context(open_orchestrator(lab, plan))

        yield start


@pytest.fixture
async def node() -> AsyncIterator[FakeAriNode]:
    """No real Asterisk: one that refuses what it is told to refuse."""
    async with open_ari_node() as node:
        yield node


@pytest.fixture
async def client(node: FakeAriNode) -> AsyncIterator[AriClient]:
    async with open_rest(
        node.url, USER, PASSWORD, limit_seconds=FAILURE_SECONDS, metrics=Metrics()
    ) as rest:
        yield AriClient(rest, "voicefork-0")
