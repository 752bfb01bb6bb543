"""A whole worker for a test, and what its admin pages show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from siprec_worker.app import open_worker
from siprec_worker.config import HostPort, Settings
from siprec_worker.worker import Worker

ANY = HostPort("127.0.0.1:0")


@dataclass(frozen=True, slots=True)
class RunningWorker:
    worker: Worker
    host: str
    port: int
    admin: str
    session: aiohttp.ClientSession

    @property
    def tls_port(self) -> int:
        assert self.worker.endpoint is not None
        return self.worker.endpoint.tls_port

    async def call(self, sip_call_id: str) -> dict[str, Any] | None:
        """The call of a SIP dialog as the admin pages show it."""
        url = f"http://{self.admin}/calls/by-call-id/{quote(sip_call_id, safe='')}"
        async with self.session.get(url) as response:
            return await response.json() if response.status == 200 else None

    async def live_calls(self) -> list[str]:
        async with self.session.get(f"http://{self.admin}/calls") as response:
            return [call["sip_call_id"] for call in (await response.json())["live"]]

    async def metrics(self) -> str:
        async with self.session.get(f"http://{self.admin}/metrics") as response:
            return await response.text()


@asynccontextmanager
async def running_worker(**changed: Any) -> AsyncIterator[RunningWorker]:
    """On ports of loopback that the kernel chooses, unless `changed` settings say otherwise."""
    settings = Settings(**{"sip": ANY, "admin": ANY, "control": ANY, **changed})
    async with open_worker(settings) as (worker, at), aiohttp.ClientSession() as session:
        assert worker.endpoint is not None
        yield RunningWorker(worker, worker.endpoint.host, worker.endpoint.port, at.admin, session)
