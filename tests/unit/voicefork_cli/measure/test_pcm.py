"""G.711 tables and levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voicefork_cli.measure.pcm import DECODED, QUIETEST_DBM0, decode, encode, level_dbm0, tone


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_every_code_survives_the_round_trip(codec: str) -> None:
    codes = bytes(c for c in range(256) if (codec, c) != ("PCMU", 0x7F))  # the second zero
    assert encode(decode(codes, codec), codec) == codes


# ITU-T G.711 tables 1a and 2a, on the 16-bit scale
@pytest.mark.parametrize(
    ("codec", "code", "sample"),
    [
        ("PCMU", 0xFF, 0),
        ("PCMU", 0x80, 32124),
        ("PCMU", 0x00, -32124),
        ("PCMU", 0xFE, 8),
        ("PCMA", 0xD5, 8),
        ("PCMA", 0x55, -8),
        ("PCMA", 0xAA, 32256),
        ("PCMA", 0x2A, -32256),
    ],
)
def test_the_tables_are_those_of_g711(codec: str, code: int, sample: int) -> None:
    assert DECODED[codec][code] == sample


@given(st.binary(max_size=400), st.sampled_from(["PCMU", "PCMA"]))
def test_what_was_once_coded_changes_no_more(payload: bytes, codec: str) -> None:
    once = encode(decode(payload, codec), codec)
    assert encode(decode(once, codec), codec) == once


@pytest.mark.parametrize("level", [0.0, -10.0, -40.0])
def test_a_tone_has_its_level(level: float) -> None:
    assert level_dbm0(tone(500, 1600, level)) == pytest.approx(level, abs=0.1)


def test_the_digital_milliwatt_is_zero_dbm0() -> None:
    milliwatt = bytes([0x1E, 0x0B, 0x0B, 0x1E, 0x9E, 0x8B, 0x8B, 0x9E])  # G.711 table 5
    assert level_dbm0(decode(milliwatt, "PCMU")) == pytest.approx(0, abs=0.05)


def test_silence_has_the_lowest_level() -> None:
    assert level_dbm0(np.zeros(160, np.int16)) == QUIETEST_DBM0
    assert level_dbm0(np.zeros(0, np.int16)) == QUIETEST_DBM0
