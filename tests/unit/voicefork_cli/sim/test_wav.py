"""WAV files of speech and of conversations."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voicefork_cli.measure.packets import Packet, Sent
from voicefork_cli.measure.pcm import encode, tone
from voicefork_cli.measure.tones import tones_in
from voicefork_cli.sim.errors import WireError
from voicefork_cli.sim.wav import read_wav, write_conversation, write_stereo


def wav(pcm: bytes, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return target.getvalue()


def test_samples_at_8000_are_taken_as_they_are() -> None:
    pcm = tone(440, 400)
    assert read_wav(wav(pcm.tobytes())).tolist() == pcm.tolist()


@pytest.mark.parametrize("rate", [11025, 16000, 22050, 44100, 48000])
def test_other_rates_are_brought_to_8000(rate: int) -> None:
    phase = 2 * np.pi * 440 / rate * np.arange(rate)
    pcm = read_wav(wav((8000 * np.sin(phase)).astype("<i2").tobytes(), rate))
    assert abs(len(pcm) - 8000) < 3
    assert tones_in(pcm[4000:4160], (440.0, 880.0)) == {440.0}


def test_above_4000_hz_nothing_is_left() -> None:
    phase = 2 * np.pi * 6000 / 16000 * np.arange(16000)
    pcm = read_wav(wav((8000 * np.sin(phase)).astype("<i2").tobytes(), 16000))
    assert np.abs(pcm[200:-200]).max() < 200


def test_the_left_channel_is_taken(tmp_path: Path) -> None:
    write_stereo(tmp_path / "a.wav", tone(440, 800), tone(880, 400))
    pcm = read_wav((tmp_path / "a.wav").read_bytes())
    assert pcm.tolist() == tone(440, 800).tolist()


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no wav at all" * 9, wav(b"\0" * 8, width=1)])
def test_rubbish_is_refused(content: bytes) -> None:
    with pytest.raises(WireError):
        read_wav(content)


@given(st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_wire_error(noise: bytes) -> None:
    header = wav(b"\0" * 32)
    for content in (noise, header[:20] + noise, header[:36] + noise):
        try:
            read_wav(content)
        except WireError:
            continue


def test_a_conversation_keeps_its_times(tmp_path: Path) -> None:
    frame = encode(tone(440, 160), "PCMU")
    said = [Sent(i * 20_000_000, i, i * 160, 0, frame) for i in range(10)]
    heard = [Packet(100_000_000, 1, 0, 1, 0, False, frame), Packet(0, 2, 0, 1, 101, False, b"1234")]
    write_conversation(tmp_path / "call.wav", said, heard[:1])
    with wave.open(str(tmp_path / "call.wav")) as written:
        both = np.frombuffer(written.readframes(9999), "<i2").reshape(-1, 2)
    assert np.flatnonzero(both[:, 1])[0] in range(800, 804)
    assert len(both) == 1600
