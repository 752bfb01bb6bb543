"""A path to a server that can go dead: what is on its way stays there, new connections work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class StallingPath:
    """TCP through here; `stall` stops every connection that there is, both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._goes: list[asyncio.Event] = []
        self.accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def stall(self) -> None:
        for goes in self._goes:
            goes.clear()

    def heal(self) -> None:
        """What was on its way arrives after all."""
        for goes in self._goes:
            goes.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        goes = asyncio.Event()
        goes.set()
        self._goes.append(goes)
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer, goes))
                group.create_task(_copy(far_reader, writer, goes))
        finally:
            writer.close()
            far_writer.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.accepted += 1
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            await self.carry(reader, writer)
        self._tasks.discard(task)

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, goes: asyncio.Event
) -> None:
    while data := await reader.read(65536):
        await goes.wait()
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def open_stalling_path(address: str) -> AsyncIterator[tuple[StallingPath, str]]:
    """A path to host:port, and the host:port where it begins."""
    host, _, port = address.rpartition(":")
    path = StallingPath(host, int(port))
    server = await asyncio.start_server(path.accept, "127.0.0.1", 0)
    try:
        here = server.sockets[0].getsockname()
        yield path, f"{here[0]}:{here[1]}"
    finally:
        server.close()
        path.end()
        await asyncio.sleep(0)
