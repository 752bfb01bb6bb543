"""OpenSIPS' management interface, by its FIFO, and its metrics, by HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from typing import Any

import aiohttp
from voicefork_cli.lab.opensips import OpenSips

_replies = itertools.count(1)


async def ask(opensips: OpenSips, method: str, **params: object) -> Any:
    """The result of an MI command."""
    fifo = opensips.home.mi
    reply = fifo.with_name(f"reply-{next(_replies)}")
    os.mkfifo(reply, 0o600)
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    try:
        # Open for both ways: neither the opening nor the reading can wait for a writer for ever.
        fd = os.open(reply, os.O_RDWR | os.O_NONBLOCK)
        fifo.write_text(f":{reply.name}:{json.dumps(request)}")
        async with asyncio.timeout(5):
            text = b""
            while not (answer := _json(text)):
                try:
                    text += os.read(fd, 65536)
                except BlockingIOError:
                    await asyncio.sleep(0.01)
        os.close(fd)
    finally:
        reply.unlink()
    assert "error" not in answer, answer
    return answer["result"]


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


async def count(opensips: OpenSips, name: str) -> int:
    """A counter of this script's own, as Prometheus is told it; 0 where there is none yet."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{opensips.home.metrics}/metrics") as response,
    ):
        text = await response.text()
    found = [line for line in text.splitlines() if line.startswith(f"opensips_{name} ")]
    return int(found[0].split()[1]) if found else 0


async def calls(opensips: OpenSips) -> int:
    """Dialogs that OpenSIPS has."""
    names = ["active_dialogs", "early_dialogs"]
    found = await ask(opensips, "get_statistics", statistics=names)
    return sum(int(value) for value in found.values())
