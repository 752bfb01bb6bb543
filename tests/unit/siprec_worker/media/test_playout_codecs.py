"""What Playout takes in and gives out: rates, laws, G.722."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from G722 import G722
from siprec_worker.media.g711 import alaw_to_linear, rms, ulaw_to_linear
from siprec_worker.media.model import (
    AudioFormat,
    Encoding,
    PlayStatus,
    TalkbackCodec,
)
from siprec_worker.media.playout import Playout

PCM8 = AudioFormat(Encoding.PCM_S16LE, 8000)
PCM16 = AudioFormat(Encoding.PCM_S16LE, 16000)
PCM24 = AudioFormat(Encoding.PCM_S16LE, 24_000)
ULAW = AudioFormat(Encoding.G711_ULAW, 8000)
SILENCE = b"\xff" * 160
LOUD = 8031  # exact in mu-law


def voice(milliseconds: int, rate: int = 8000) -> bytes:
    return array("h", [LOUD] * (milliseconds * rate // 1000)).tobytes()


def playout(source: AudioFormat = PCM8, *, buffer_ms: int = 30_000, lead_in_ms: int = 0) -> Playout:
    return Playout(source, buffer_ms=buffer_ms, lead_in_ms=lead_in_ms)


def test_half_a_sample_waits_for_its_other_half() -> None:
    out = playout()
    pcm = voice(40)
    for at in range(0, len(pcm), 7):
        out.speak("u", pcm[at : at + 7])
    out.speak("u", b"", last=True)
    frames = b"".join(out.frame() for _ in range(3))
    assert frames.count(SILENCE[0]) == 160


def test_g711_goes_through_unchanged() -> None:
    out = playout(ULAW)
    sound = bytes(range(128, 256)) + bytes(32)
    out.speak("u", sound, last=True)
    assert out.frame() == sound


def test_wideband_is_halved_for_g711() -> None:
    out = playout(PCM16)
    out.speak("u", voice(200, 16000), last=True)
    frames = [out.frame() for _ in range(10)]
    assert {len(frame) for frame in frames} == {160}
    assert rms(ulaw_to_linear(frames[5])) == pytest.approx(LOUD, rel=0.02)


@pytest.mark.parametrize("piece_ms", [1, 7, 20, 200])
def test_24_khz_is_played_in_its_own_length_at_any_cut(piece_ms: int) -> None:
    out = playout(PCM24)
    pcm = voice(200, 24_000)
    size = 48 * piece_ms
    for at in range(0, len(pcm), size):
        out.speak("u", pcm[at : at + size], last=at + size >= len(pcm))
    assert out.queued_ms == 200
    frames = [out.frame() for _ in range(11)]
    assert rms(ulaw_to_linear(frames[5])) == pytest.approx(LOUD, rel=0.02)
    assert rms(ulaw_to_linear(frames[9])) == pytest.approx(LOUD, rel=0.2)
    assert [state.status for state in out.events()] == [PlayStatus.STARTED, PlayStatus.FINISHED]
    assert not out.speaking


def test_a_tone_at_24_khz_keeps_its_pitch() -> None:
    out = playout(PCM24)
    tone = np.rint(9000 * np.sin(2 * np.pi * 1000 * np.arange(24_000) / 24_000)).astype("<i2")
    out.speak("u", tone.tobytes(), last=True)
    heard = b"".join(ulaw_to_linear(out.frame()) for _ in range(50))
    power = np.abs(np.fft.rfft(np.frombuffer(heard, "<i2").astype(float)))
    assert power.argmax() == 1000


@pytest.mark.parametrize("source", [PCM8, PCM16, PCM24])
def test_g722_carries_both_rates(source: AudioFormat) -> None:
    out = playout(source)
    out.set_codec(TalkbackCodec.G722)
    rate = source.sample_rate
    tone = array("h", [int(LOUD * ((n * 1000 // rate) % 2 * 2 - 1)) for n in range(rate // 5)])
    out.speak("u", tone.tobytes(), last=True)
    frames = [out.frame() for _ in range(10)]
    assert {len(frame) for frame in frames} == {160}
    decoded = G722(16000, 64000).decode(b"".join(frames))
    assert rms(decoded.tobytes()) > LOUD / 2


def test_alaw_is_alaw() -> None:
    out = playout()
    out.set_codec(TalkbackCodec.PCMA)
    assert rms(alaw_to_linear(out.frame())) <= 8
    out.speak("u", voice(20), last=True)
    assert rms(alaw_to_linear(out.frame())) == pytest.approx(LOUD, rel=0.05)


@pytest.mark.parametrize(
    "source", [AudioFormat(Encoding.PCM_S16LE, 48000), AudioFormat(Encoding.G711_ULAW, 16000)]
)
def test_a_source_that_cannot_be_played_is_refused(source: AudioFormat) -> None:
    with pytest.raises(ValueError, match="no playout"):
        playout(source)
