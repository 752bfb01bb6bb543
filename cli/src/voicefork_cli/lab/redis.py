"""A redis-server of our own: empty, on loopback, keeping nothing on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running, find_program

READY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Redis:
    """A running server."""

    url: str
    port: int
    program: Running


@asynccontextmanager
async def open_redis(lab: Lab) -> AsyncIterator[Redis]:
    """Runs a redis-server while the block runs."""
    server = find_program("redis-server", "apt-get install redis-server, or `make setup`")
    port = lab.ports.single()
    argv = [server, "--bind", HOST, "--port", port, "--save", "", "--appendonly", "no"]
    async with lab.program("redis", argv) as program:
        await program.wait_until(lambda: _answers(port), READY_SECONDS)
        yield Redis(f"redis://{HOST}:{port}/0", port, program)


async def _answers(port: int) -> bool | None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(b"PING\r\n")
        return True if await reader.readline() == b"+PONG\r\n" else None
    finally:
        writer.close()
