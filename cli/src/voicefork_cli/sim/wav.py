"""WAV files, 8000 Hz 16 bit: speech to play, and conversations to listen to."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voicefork_cli.measure.packets import AUDIO_TYPES, SAMPLE_RATE, Packet, Sent
from voicefork_cli.measure.pcm import Pcm, decode
from voicefork_cli.sim.errors import WireError

SAMPLE_BYTES = 2
RATES = range(4000, 192_001)
LONGEST_SECONDS = 4 * 3600


def read_wav(content: bytes) -> Pcm:
    """Mono or the left channel, brought to 8000 Hz. Raises WireError for another sample format."""
    try:
        with wave.open(io.BytesIO(content)) as source:
            width, channels, rate = (
                source.getsampwidth(),
                source.getnchannels(),
                source.getframerate(),
            )
            frames = source.readframes(source.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:  # RuntimeError: a chunk beyond the end
        raise WireError(f"no WAV file: {error}") from error
    if rate not in RATES:
        raise WireError(f"WAV of {rate} samples a second")
    if width != SAMPLE_BYTES:
        raise WireError(f"WAV of {8 * width} bits: 16 are needed")
    samples = np.frombuffer(frames[: len(frames) // (2 * channels) * 2 * channels], "<i2")
    return _at_8000(samples[::channels].astype(np.int16), rate)


def write_stereo(path: Path, left: Pcm, right: Pcm) -> None:
    """The shorter one is filled with silence."""
    both = np.zeros((max(len(left), len(right)), 2), np.int16)
    both[: len(left), 0] = left
    both[: len(right), 1] = right
    with wave.open(str(path), "wb") as target:
        target.setnchannels(2)
        target.setsampwidth(SAMPLE_BYTES)
        target.setframerate(SAMPLE_RATE)
        target.writeframes(both.astype("<i2").tobytes())


def write_conversation(path: Path, said: Sequence[Sent], heard: Sequence[Packet]) -> None:
    """Left what was said, right what was heard, each packet where its time puts it."""
    one = [(p.sent_ns, p.payload_type, p.payload) for p in said]
    other = [(p.arrival_ns, p.payload_type, p.payload) for p in heard]
    began = min((packets[0][0] for packets in (one, other) if packets), default=0)
    write_stereo(path, _laid_out(one, began), _laid_out(other, began))


def _laid_out(packets: list[tuple[int, int, bytes]], began_ns: int) -> Pcm:
    """Packets by time; jitter below 60 ms is smoothed by putting a packet behind the last one."""
    pieces: list[tuple[int, Pcm]] = []
    free = 0
    for at_ns, kind, payload in packets:
        codec = AUDIO_TYPES.get(kind)
        if codec is None:
            continue
        due = (at_ns - began_ns) * SAMPLE_RATE // 1_000_000_000
        start = free if due - free < 3 * 160 else due
        if start > LONGEST_SECONDS * SAMPLE_RATE:
            break
        pieces.append((start, decode(payload, codec)))
        free = start + len(payload)
    pcm = np.zeros(free, np.int16)
    for start, piece in pieces:
        pcm[start : start + len(piece)] = piece
    return pcm


def _at_8000(pcm: Pcm, rate: int) -> Pcm:
    """Low-pass (windowed sinc) and interpolation: good enough for speech to be understood."""
    if rate == SAMPLE_RATE or not len(pcm):
        return pcm
    signal = pcm.astype(np.float64)
    if rate > SAMPLE_RATE:
        n = np.arange(-64, 65)
        kernel = np.sinc(n * 0.9 * SAMPLE_RATE / rate) * np.hamming(len(n))
        signal = np.convolve(signal, kernel / kernel.sum(), mode="same")
    places = np.arange(0, len(pcm) - 1, rate / SAMPLE_RATE)
    resampled = np.interp(places, np.arange(len(pcm)), signal)
    return np.asarray(np.clip(np.round(resampled), -32768, 32767), dtype=np.int16)
