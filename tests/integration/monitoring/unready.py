"""An orchestrator that still looks for its Asterisk: its operator's page is there already."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from voicefork_cli.lab.processes import Lab

NOBODY = "http://127.0.0.1:9"


@asynccontextmanager
async def open_unready_orchestrator(lab: Lab, redis: str) -> AsyncIterator[str]:
    """Yields HOST:PORT of the page."""
    admin = f"127.0.0.1:{lab.ports.single()}"
    argv = [
        *(sys.executable, "-m", "orchestrator", "--redis", redis, "--ari", NOBODY),
        *("--grpc", "127.0.0.1:0", "--admin", admin),
    ]
    async with lab.program("orchestrator", argv) as program:

        async def answers() -> bool | None:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{admin}/healthz") as response,
            ):
                return response.status == 200 or None

        await program.wait_until(answers, 20.0)
        yield admin
