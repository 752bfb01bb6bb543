"""Every codec to every uplink: exact lengths, and the tone that was sent."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pytest
from G722 import G722
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import RtpError
from siprec_worker.media.decode import Decoder, make_decoder, silence_unit
from siprec_worker.media.g711 import alaw_to_linear, linear_to_alaw, linear_to_ulaw, ulaw_to_linear
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.media.opus import OpusDecoder, opus_is_installed, opus_units

opuslib_next: Any = pytest.importorskip("opuslib_next", exc_type=ImportError)

UPLINKS = [
    AudioFormat(Encoding.PCM_S16LE, 8000),
    AudioFormat(Encoding.PCM_S16LE, 16_000),
    AudioFormat(Encoding.PCM_S16LE, 24_000),
    AudioFormat(Encoding.G711_ULAW, 8000),
    AudioFormat(Encoding.G711_ALAW, 8000),
]
HERTZ = 1000


def tone(rate: int, seconds: float = 0.4) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    pcm: bytes = np.rint(12_000 * np.sin(2 * np.pi * HERTZ * times)).astype("<i2").tobytes()
    return pcm


def frames(pcm: bytes, rate: int, ms: int = 20) -> list[bytes]:
    step = 2 * rate * ms // 1000
    return [pcm[at : at + step] for at in range(0, len(pcm), step)]


def packets(codec: str, clock: int) -> list[bytes]:
    """20 ms packets of a tone."""
    match codec:
        case "PCMU":
            return [linear_to_ulaw(f) for f in frames(tone(8000), 8000)]
        case "PCMA":
            return [linear_to_alaw(f) for f in frames(tone(8000), 8000)]
        case "G722":
            coder = G722(16_000, 64_000)
            return [bytes(coder.encode(array("h", f))) for f in frames(tone(16_000), 16_000)]
        case "L16":
            swapped = np.frombuffer(tone(clock), "<i2").astype(">i2").tobytes()
            return frames(swapped, clock)
        case _:
            encoder = opuslib_next.Encoder(48_000, 1, "voip")
            return [encoder.encode(f, 960) for f in frames(tone(48_000), 48_000)]


CODECS = [
    ("PCMU", 8000),
    ("PCMA", 8000),
    ("G722", 8000),
    ("opus", 48_000),
    *[("L16", rate) for rate in (8000, 16_000, 24_000, 48_000)],
]


def decoder(codec: str, clock: int, uplink: AudioFormat) -> Decoder:
    found = make_decoder(codec, uplink, clock)
    assert found is not None
    return found


@pytest.mark.parametrize("uplink", UPLINKS, ids=lambda u: f"{u.encoding.name}-{u.sample_rate}")
@pytest.mark.parametrize(("codec", "clock"), CODECS)
def test_the_tone_arrives_in_exact_lengths(codec: str, clock: int, uplink: AudioFormat) -> None:
    made = decoder(codec, clock, uplink)
    heard = []
    for packet in packets(codec, clock):
        audio = made.to_uplink(packet)
        assert made.units(packet) == 160
        assert len(audio) == 160 * len(silence_unit(uplink))
        heard.append(audio)
    match uplink.encoding:
        case Encoding.G711_ULAW:
            pcm = ulaw_to_linear(b"".join(heard))
        case Encoding.G711_ALAW:
            pcm = alaw_to_linear(b"".join(heard))
        case _:
            pcm = b"".join(heard)
    samples = np.frombuffer(pcm, "<i2").astype(float)[uplink.sample_rate // 10 :]
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    peak = int(power.argmax())
    assert peak * uplink.sample_rate / len(samples) == pytest.approx(HERTZ, abs=10)
    near = power[peak - 4 : peak + 5].sum()
    assert 10 * np.log10(near / (power.sum() - near)) > 20


def test_g711_of_the_uplinks_own_law_is_passed_through() -> None:
    made = decoder("pcmu", 8000, AudioFormat(Encoding.G711_ULAW, 8000))
    assert made.to_uplink(b"\x01\x02") == b"\x01\x02"
    assert made.octet_is_unit


def test_only_what_is_costly_is_heavy() -> None:
    narrow, wide = UPLINKS[0], UPLINKS[1]
    assert not decoder("PCMU", 8000, wide).heavy
    assert not decoder("G722", 8000, narrow).heavy
    assert decoder("G722", 8000, wide).heavy
    assert decoder("opus", 48_000, narrow).heavy


@pytest.mark.parametrize(
    ("codec", "clock"), [("G729", 8000), ("PCMU", 16_000), ("L16", 44_100), ("opus", 8000)]
)
def test_what_nobody_can_decode_has_no_decoder(codec: str, clock: int) -> None:
    assert make_decoder(codec, UPLINKS[0], clock) is None


def test_samples_that_make_no_whole_unit_are_left_out() -> None:
    made = decoder("L16", 48_000, UPLINKS[0])
    assert made.units(bytes(2 * 100)) == 16
    assert made.units(b"\1") == 0


@pytest.mark.parametrize("ms", [2.5, 5, 10, 20, 40, 60])
def test_the_length_of_an_opus_packet_is_read_from_its_beginning(ms: float) -> None:
    samples = int(48 * ms)
    encoder = opuslib_next.Encoder(48_000, 1, "voip")
    assert opus_units(encoder.encode(bytes(2 * samples), samples)) == int(8 * ms)


@given(st.binary(max_size=40))
def test_no_opus_payload_raises_anything_but_a_peers_error(payload: bytes) -> None:
    made = OpusDecoder(16_000)
    try:
        pcm = made.decode(payload)
    except RtpError:
        return
    assert len(pcm) == 4 * opus_units(payload)


def test_the_copy_in_the_next_packet_brings_a_lost_one_back() -> None:
    assert opus_is_installed()
    encoder = opuslib_next.Encoder(48_000, 1, "voip")
    encoder.inband_fec = 1
    encoder.packet_loss_perc = 30
    encoder.bitrate = 24_000
    times = np.arange(48_000) / 48_000
    chirp = np.rint(9000 * np.sin(2 * np.pi * (300 + 900 * times) * times)).astype("<i2").tobytes()
    sent = [encoder.encode(f, 960) for f in frames(chirp, 48_000)]
    whole, holed = OpusDecoder(16_000), OpusDecoder(16_000)
    for packet in sent[:30]:
        whole.decode(packet)
        holed.decode(packet)
    lost = np.frombuffer(whole.decode(sent[30]), "<i2").astype(float)
    back = np.frombuffer(holed.recover(160, 1, sent[31]), "<i2").astype(float)
    assert len(back) == len(lost)
    assert np.corrcoef(back, lost)[0, 1] > 0.8


def test_of_several_lost_packets_all_are_made_up_for() -> None:
    sent = packets("opus", 48_000)
    made = OpusDecoder(8000)
    made.decode(sent[0])
    assert len(made.recover(160, 3, sent[4])) == 3 * 320
