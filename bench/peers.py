"""What others pay to receive a packet: aiortc, aiortp, pipecat from PyPI, in their own venv.

None of them is a dependency. One that cannot be installed, or fails, is left out with the reason.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from voicefork_cli.lab.errors import LabError

from bench.calls import LEGS
from bench.rig import LOAD_CORE, WORKER_CORE
from bench.tools import BUILT, HERE, Tool, build, cpu_seconds, open_tool

VENV = BUILT.parent / "peers-venv"
INSTALL_SECONDS = 180.0
PACKAGES = {"aiortc": "aiortc", "aiortp": "aiortp", "pipecat": "pipecat-ai"}
RECEIVING = ("aiortc", "aiortp")
WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Peer:
    """`us_per_packet` None: left out, `note` says why."""

    name: str
    us_per_packet: float | None
    note: str


async def measure_peers(calls: int, seconds: float) -> list[Peer]:
    peers = []
    for name in PACKAGES:
        if reason := await asyncio.to_thread(_install, name):
            peers.append(Peer(name, None, reason))
            continue
        try:
            peers.append(await _measure(name, calls, seconds))
        except (LabError, TimeoutError, ValueError, OSError) as error:
            peers.append(Peer(name, None, f"failed: {error}"))
    return peers


def _install(name: str) -> str:
    """Why it is not there; "" when it is."""
    python = VENV / "bin" / "python"
    try:
        if not python.exists():
            _run(sys.executable, "-m", "venv", str(VENV))
        if _run(str(python), "-c", f"import {name}, uvloop", check=False):
            _run(str(python), "-m", "pip", "install", "--quiet", PACKAGES[name], "uvloop")
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_SECONDS:g} s"
    except subprocess.CalledProcessError as error:
        return f"cannot be installed: {(error.stderr or '').strip()[-200:]}"
    return ""


def _run(*command: str, check: bool = True) -> int:
    return subprocess.run(
        command, check=check, capture_output=True, text=True, timeout=INSTALL_SECONDS
    ).returncode


async def _measure(name: str, calls: int, seconds: float) -> Peer:
    streams = LEGS * calls
    command = [VENV / "bin" / "python", HERE / "peer_receive.py", name, streams]
    async with AsyncExitStack() as opened:
        receiver = await opened.enter_async_context(open_tool(name, command, WORKER_CORE))
        if name not in RECEIVING:
            cost = float((await receiver.hear()).split()[1])
            return Peer(name, cost, "its Twilio serializer alone, warm: no socket, no pipeline")
        there = (await receiver.hear()).split()[1:]
        load = await opened.enter_async_context(
            open_tool("load", [build("load"), streams], LOAD_CORE)
        )
        await load.hear()
        for stream, to in enumerate(there):
            load.tell(f"to {stream} {to}")
        load.tell("go")
        await asyncio.sleep(WARM_SECONDS)
        return await _cost(name, receiver, load, seconds)


async def _cost(name: str, receiver: Tool, load: Tool, seconds: float) -> Peer:
    sent, before = await load.figures("count"), await receiver.figures("count")
    cpu = cpu_seconds(receiver.pid)
    await asyncio.sleep(seconds)
    cpu = cpu_seconds(receiver.pid) - cpu
    after, sent_after = await receiver.figures("count"), await load.figures("count")
    packets = after["packets"] - before["packets"]
    lost = max(0, sent_after["sent"] - sent["sent"] - packets)
    note = "receive and decode only; nothing is sent on"
    if lost > packets // 100:
        note += f"; {100 * lost // (lost + packets)} % of the packets lost"
    return Peer(name, 1e6 * cpu / packets, note)
