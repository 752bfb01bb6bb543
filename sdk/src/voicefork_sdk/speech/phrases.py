"""Hears a few phrases on a telephone line: pocketsphinx keyword spotting, off the event loop.

The model knows 16 kHz speech, so what lies above 4 kHz is filled with faint noise: empty bands
look like nothing it was trained on.
"""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from pocketsphinx import Config, Decoder  # type: ignore[import-untyped]

from voicefork_sdk.speech.voice import half_band

_RATE = 8000
_CHUNK_BYTES = 640  # 40 ms at 8 kHz to the recogniser at once
_MAX_WAITING = 150  # chunks as they come, 3 s at 20 ms; beyond it the oldest is dropped, counted
_MAX_HEARD = 100
_END_SECONDS = 1.0
_NOISE = 60.0  # standard deviation, in 16-bit steps: -55 dB of full scale


@dataclass(frozen=True, slots=True)
class Heard:
    intent: str
    phrase: str
    from_pts: int
    to_pts: int


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase of words of the dictionary; a smaller threshold hears it, and others, more often."""

    text: str
    intent: str
    threshold: float
    said: str = ""  # what to report instead of `text`, where that has made-up words


class PhraseSpotters:
    """Recognisers ready for calls: loading one takes a quarter of a second."""

    def __init__(
        self,
        phrases: tuple[Phrase, ...],
        *,
        pronunciations: Mapping[str, str] | None = None,
        warm_up: bytes = b"",
        ready: int = 2,
    ) -> None:
        """`pronunciations`: words beside the dictionary's, in its phones.

        `warm_up`: any telephone speech (PCM_S16LE, 8 kHz) from which the recognisers take the mean
        of the channel, which they would otherwise learn from the caller's first words.
        """
        self._phrases = phrases
        self._pronunciations = dict(pronunciations or {})
        self._channel_mean = ""
        if warm_up:
            self._channel_mean = self._measure(warm_up)
        self.by_text: Mapping[str, Phrase] = {phrase.text: phrase for phrase in phrases}
        self._spare: deque[Decoder] = deque(self._load() for _ in range(ready))

    def take(self) -> Decoder:
        """A recogniser that knows nothing of earlier calls."""
        spotter = self._spare.pop() if self._spare else self._load()
        if self._channel_mean:
            spotter.set_cmn(self._channel_mean)
        return spotter

    def give_back(self, spotter: Decoder) -> None:
        self._spare.append(spotter)

    def _measure(self, speech: bytes) -> str:
        spotter = self._load()
        spotter.start_utt()
        spotter.process_raw(Widener().widen(speech), False, True)
        spotter.end_utt()
        return str(spotter.get_cmn(False))

    def _load(self) -> Decoder:
        spotter = Decoder(Config(samprate=16000.0, loglevel="FATAL", lm=None))
        for word, phones in self._pronunciations.items():
            spotter.add_word(word, phones, True)
        with tempfile.TemporaryDirectory() as folder:
            keywords = Path(folder) / "phrases.kws"
            keywords.write_text(
                "".join(f"{one.text} /{one.threshold:g}/\n" for one in self._phrases)
            )
            spotter.add_kws("phrases", str(keywords))
        spotter.activate_search("phrases")
        return spotter


class PhraseEars:
    """The ears of one call: `hear` never waits, `heard` gives what was found so far."""

    def __init__(self, spotters: PhraseSpotters) -> None:
        self._spotters = spotters
        self._waiting: queue.Queue[tuple[bytes, int] | None] = queue.Queue(_MAX_WAITING)
        self._heard: deque[Heard] = deque(maxlen=_MAX_HEARD)
        self._thread = threading.Thread(target=self._listen, name="ears", daemon=True)
        self._ending = threading.Event()
        self.dropped = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._put(None)
        self._thread.join(_END_SECONDS)  # one chunk: about 2 ms

    def hear(self, pcm: bytes, pts: int) -> None:
        """PCM_S16LE at 8 kHz that begins at `pts`."""
        self._put((pcm, pts))

    def heard(self) -> list[Heard]:
        found = []
        while self._heard:
            found.append(self._heard.popleft())
        return found

    def _put(self, item: tuple[bytes, int] | None) -> None:
        while True:
            try:
                return self._waiting.put_nowait(item)
            except queue.Full:
                self.dropped += 1
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._waiting.get_nowait()

    def _listen(self) -> None:
        spotter = self._spotters.take()
        try:
            spotter.start_utt()
            self._spot(spotter)
            spotter.end_utt()
        finally:
            self._spotters.give_back(spotter)

    def _spot(self, spotter: Decoder) -> None:
        widener = Widener()
        pending, begun = b"", 0
        while (item := self._waiting.get()) is not None and not self._ending.is_set():
            pcm, pts = item
            pending += pcm
            if len(pending) < _CHUNK_BYTES:
                continue
            spotter.process_raw(widener.widen(pending), False, False)
            pending = b""
            found = spotter.hyp()
            if found is not None:
                end = pts + len(pcm) // 2
                self._report(found.hypstr, max(begun, end - 2 * _RATE), end)
                begun = end
                spotter.end_utt()
                spotter.start_utt()

    def _report(self, words: str, from_pts: int, to_pts: int) -> None:
        """A hypothesis may name several phrases at once, two spaces apart: the longest counts."""
        phrases = [part.strip() for part in words.split("  ") if part.strip()]
        phrase = self._spotters.by_text.get(max(phrases, key=len, default=""))
        if phrase is not None:
            said = phrase.said or phrase.text
            self._heard.append(Heard(phrase.intent, said, from_pts, to_pts))


class Widener:
    """8 kHz to 16 kHz, chunk by chunk: interpolated, and with faint noise in the empty band."""

    def __init__(self) -> None:
        self._taps = half_band() * 2
        self._tail = np.zeros(len(self._taps) - 1)
        self._random = np.random.default_rng(1)

    def widen(self, pcm: bytes) -> bytes:
        """PCM_S16LE at 8 kHz, any whole number of samples, as twice as many at 16 kHz."""
        narrow = np.frombuffer(pcm, "<i2")
        stuffed = np.zeros(2 * len(narrow))
        stuffed[::2] = narrow
        joined = np.concatenate([self._tail, stuffed])
        self._tail = joined[len(joined) - len(self._tail) :]
        wide = np.convolve(joined, self._taps, "valid")
        noisy = wide + self._random.normal(0.0, _NOISE, len(wide))
        return np.clip(noisy, -32768, 32767).astype("<i2").tobytes()
