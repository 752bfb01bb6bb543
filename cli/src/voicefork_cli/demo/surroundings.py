"""What a measurement was made on: the machine, and the versions of everything in the call."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from voicefork_cli.demo.cast import Cast

ASKED_SECONDS = 5.0
Fact = tuple[str, str]


async def surroundings(cast: Cast) -> list[Fact]:
    """(name, value) of what is worth knowing; a program that does not say is left out."""
    facts = [
        ("processor", processor()),
        ("load average", " ".join(f"{load:.2f}" for load in os.getloadavg())),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Voicefork", importlib.metadata.version("voicefork-cli")),
        ("Python", platform.python_version()),
        ("Asterisk", _number(await cast.stack.asterisk.cli("core show version"))),
        ("rtpengine", _number(await _said("rtpengine", "--version"))),
        ("Redis", _number(await _said("redis-server", "--version"))),
    ]
    return [(name, value) for name, value in facts if value]


def processor() -> str:
    """The model as the kernel names it, and how many there are."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return f"{os.cpu_count()} x {found[1].strip() if found else platform.machine()}"


def _number(text: str) -> str:
    """The first thing in it that looks like a version."""
    found = re.search(r"\d+\.\d+[\w.+~-]*", text)
    return found[0] if found else ""


async def _said(*command: str) -> str:
    """What a program prints, empty when it cannot be asked."""
    try:
        async with asyncio.timeout(ASKED_SECONDS):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
    except (OSError, TimeoutError):
        return ""
    return output.decode(errors="replace")
