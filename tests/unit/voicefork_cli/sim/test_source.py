"""What a party says, 20 ms at a time."""

from __future__ import annotations

import numpy as np
import pytest
from voicefork_cli.measure.clicks import find_clicks
from voicefork_cli.measure.pcm import decode
from voicefork_cli.measure.tones import tones_in
from voicefork_cli.sim.source import Clicks, Clip, Mute, Script, Silence, Source, Tone

HZ = (440.0, 600.0)


def frames(source: Source, count: int) -> list[bytes]:
    return [source.payload("PCMU") or b"" for _ in range(count)]


def test_a_tone_goes_on_without_a_break() -> None:
    pcm = decode(b"".join(frames(Tone(437), 200)), "PCMU")
    for start in range(0, len(pcm) - 160, 1111):
        assert tones_in(pcm[start : start + 160], (437.0,)) == {437.0}
    assert {len(frame) for frame in frames(Tone(440), 3)} == {160}


def test_silence_is_packets_and_mute_is_none() -> None:
    assert frames(Silence(), 2) == [b"\xff" * 160] * 2
    assert Mute().payload("PCMU") is None


def test_a_clip_ends_in_silence() -> None:
    clip = Clip(np.full(200, 1000, np.int16))
    assert clip.seconds == 0.04
    first, second, third = frames(clip, 3)
    assert len(set(first)) == 1
    assert second[:40] == first[:40]
    assert second[40:] == third[40:] == b"\xff" * 120
    assert clip.is_over


def test_a_repeated_clip_begins_again() -> None:
    assert frames(Clip(np.arange(320, dtype=np.int16) * 99, repeat=True), 4)[2:] == frames(
        Clip(np.arange(320, dtype=np.int16) * 99), 2
    )


def test_a_script_plays_its_parts_in_turn() -> None:
    played = frames(Script([(Tone(440), 0.04), (Mute(), 0.02), (Tone(600), None)]), 6)
    heard = [tones_in(decode(frame, "PCMU"), HZ) if frame else None for frame in played]
    assert heard == [{440.0}, {440.0}, None, {600.0}, {600.0}, {600.0}]


def test_a_script_that_is_over_is_silent() -> None:
    assert frames(Script([(Tone(440), 0.02)]), 2)[1] == b"\xff" * 160
    with pytest.raises(ValueError, match="at least one"):
        Script([])


@pytest.mark.parametrize("spacing_ms", [500, 731])
def test_clicks_come_at_their_spacing(spacing_ms: int) -> None:
    played = enumerate(frames(Clicks(spacing_ms), 1000))
    moments = find_clicks([(i * 20_000_000, i * 160, 0, frame) for i, frame in played])
    assert len(moments) == 20_000 // spacing_ms
    assert np.diff(moments) == pytest.approx([spacing_ms] * (len(moments) - 1), abs=0.2)
