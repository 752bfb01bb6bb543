"""Speech by flite (Debian's package of that name): small, quick, English; one process a text.

http://cmuflite.org
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import tempfile
import wave
from collections import OrderedDict
from pathlib import Path

from orchestrator.handoff.ports import Mute, Sound, Speech, Unspoken

log = logging.getLogger(__name__)

TEXT_CHARACTERS = 1000  # more than a minute of speech
LONGEST_SECONDS = 60.0
KEPT_SOUNDS = 64
AT_A_TIME = 2
RATES = (8000, 16000)  # of flite's voices


class Flite:
    """Implements handoff.ports.Speech. What was said before is kept, by its text's hash."""

    def __init__(self, program: str, voice: str) -> None:
        self._program = program
        self._voice = voice
        self._kept: OrderedDict[str, Sound] = OrderedDict()
        self._room = asyncio.Semaphore(AT_A_TIME)

    async def render(self, text: str) -> Sound:
        """Raises Unspoken. Cancelled: the process ends with it."""
        key = hashlib.sha256(text.encode()).hexdigest()
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known
        async with self._room:
            sound = await self._speak(text[:TEXT_CHARACTERS])
        self._kept[key] = sound
        if len(self._kept) > KEPT_SOUNDS:
            self._kept.popitem(last=False)
        return sound

    async def _speak(self, text: str) -> Sound:
        # The text comes by a file: as an argument it would show in the list of processes.
        folder = tempfile.TemporaryDirectory(prefix="voicefork-speech-")
        try:
            words, spoken = Path(folder.name, "words.txt"), Path(folder.name, "spoken.wav")
            await asyncio.to_thread(words.write_text, text)
            await self._run("-voice", self._voice, "-f", str(words), "-o", str(spoken))
            return await asyncio.to_thread(_sound, spoken)
        finally:
            folder.cleanup()

    async def _run(self, *arguments: str) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise Unspoken(f"{self._program}: {error}") from error
        try:
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status:
            raise Unspoken(f"flite ended with {status}")


def _sound(file: Path) -> Sound:
    """Raises Unspoken: this is not what flite writes."""
    try:
        with wave.open(str(file)) as spoken:
            rate, form = spoken.getframerate(), (spoken.getsampwidth(), spoken.getnchannels())
            pcm = spoken.readframes(round(rate * LONGEST_SECONDS))
    except (OSError, EOFError, wave.Error) as error:
        raise Unspoken(f"flite: {error}") from error
    if rate not in RATES or form != (2, 1):
        raise Unspoken(f"flite spoke {form[1]} x {8 * form[0]} bits at {rate} Hz")
    return Sound(pcm, rate)


def open_speech(voice: str) -> Speech:
    """flite with this voice; mute, and said so, where there is no flite or no voice is wanted."""
    if (program := found(voice)) is not None:
        return Flite(program, voice)
    if voice:
        log.warning("flite is not installed: no text is spoken, agents have it on their screens")
    return Mute()


def found(voice: str) -> str | None:
    """flite's place; None: there is none, or no voice is wanted."""
    return shutil.which("flite") if voice else None
