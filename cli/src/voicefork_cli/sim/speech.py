"""Spoken sentences for callers and agents, by flite."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from voicefork_cli.measure.pcm import Pcm
from voicefork_cli.sim.errors import SetupMissing
from voicefork_cli.sim.wav import read_wav

LONGEST_TEXT = 2000


async def say(text: str, *, limit_seconds: float = 10.0, voice: str = "") -> Pcm:
    """`text` as int16 samples at 8000 Hz.

    Args:
        voice: one of flite's (`flite -lv`); its own choice where empty.

    Raises:
        SetupMissing: flite is not installed, failed, or took longer than the limit.
        ValueError: no text, or more than 2000 characters.
    """
    if not 0 < len(text) <= LONGEST_TEXT:
        raise ValueError(f"{len(text)} characters to say: 1 to {LONGEST_TEXT}")
    program = shutil.which("flite")
    if program is None:
        raise SetupMissing("flite is not installed: apt-get install flite")
    with tempfile.TemporaryDirectory(prefix="voicefork-say-") as folder:
        written = Path(folder, "said.wav")
        argv = [program, *(["-voice", voice] if voice else []), "-t", text, "-o", str(written)]
        await _run(argv, limit_seconds)
        return read_wav(written.read_bytes())  # noqa: ASYNC240 - a few kB, just written


async def _run(argv: list[str], limit_seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(limit_seconds):
            _, complaint = await process.communicate()
    except TimeoutError as error:
        raise SetupMissing(f"flite took longer than {limit_seconds:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SetupMissing(f"flite failed: {complaint.decode('utf-8', 'replace')[:200]}")
