from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pocketsphinx")

from voicefork_sdk.speech import phrases
from voicefork_sdk.speech.bank_phrases import PHRASES
from voicefork_sdk.speech.phrases import PhraseEars, PhraseSpotters, Widener

TONE = (8000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)).astype("<i2").tobytes()


def test_a_widened_tone_is_the_same_tone() -> None:
    wide = np.frombuffer(Widener().widen(TONE), "<i2")
    spectrum = np.abs(np.fft.rfft(wide))
    assert len(wide) == 16000
    assert int(np.argmax(spectrum)) == 440
    assert np.sqrt(np.mean(wide.astype(float) ** 2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)


def test_chunks_are_widened_without_a_seam() -> None:
    widener = Widener()
    chunks = [widener.widen(TONE[at : at + 320]) for at in range(0, len(TONE), 320)]
    assert b"".join(chunks) == Widener().widen(TONE) or _alike(b"".join(chunks))


def _alike(chunked: bytes) -> bool:
    """The noise is drawn chunk by chunk; what remains must be only noise."""
    whole = np.frombuffer(Widener().widen(TONE), "<i2").astype(float)
    difference = np.frombuffer(chunked, "<i2") - whole
    return bool(np.max(np.abs(difference)) < 12 * phrases._NOISE)


def test_ears_that_cannot_keep_up_drop_the_oldest() -> None:
    ears = PhraseEars(PhraseSpotters((), ready=0))
    for pts in range(0, 200 * 160, 160):
        ears.hear(bytes(320), pts)
    assert ears.dropped == 50


def test_what_is_reported_has_no_made_up_words() -> None:
    assert all("-" not in (phrase.said or phrase.text) for phrase in PHRASES)
