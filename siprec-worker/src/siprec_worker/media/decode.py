"""From a payload type's codec to the uplink's encoding.

The length of audio is counted in *units* of 1/8000 s, whatever the uplink's rate: the call's grid
is one, and a unit of it is 1, 2, 4 or 6 bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import NamedTuple

from G722 import G722

from siprec_worker.media import g711
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.media.opus import OpusDecoder, opus_is_installed, opus_units
from siprec_worker.media.rate import RateChanger

Transcode = Callable[[bytes], bytes]

UNIT_RATE = 8000
LINEAR = AudioFormat(Encoding.PCM_S16LE, UNIT_RATE)
L16_RATES = (8000, 16_000, 24_000, 48_000)
G722_BIT_RATE = 64_000

_SILENCE = {
    Encoding.PCM_S16LE: b"\0\0",
    Encoding.G711_ULAW: g711.ULAW_SILENCE,
    Encoding.G711_ALAW: g711.ALAW_SILENCE,
}
_FROM_LINEAR: dict[Encoding, Transcode] = {
    Encoding.G711_ULAW: g711.linear_to_ulaw,
    Encoding.G711_ALAW: g711.linear_to_alaw,
}
_PASS_THROUGH = {"PCMU": Encoding.G711_ULAW, "PCMA": Encoding.G711_ALAW}
_G711 = {"PCMU": g711.ulaw_to_linear, "PCMA": g711.alaw_to_linear}


def silence_unit(uplink: AudioFormat) -> bytes:
    """1/8000 s of silence."""
    return _SILENCE[uplink.encoding] * (uplink.sample_rate // UNIT_RATE)


def _octets(payload: bytes) -> int:
    return len(payload)


class Decoder(NamedTuple):
    """One codec of one stream.

    `to_uplink` gives exactly `units(payload)` units. Both raise RtpError for a payload that is
    none of the codec's. What is `heavy` is to be run off the event loop. `recover(units, packets,
    following)` makes up for lost packets.
    """

    to_uplink: Transcode
    to_linear: Transcode
    units: Callable[[bytes], int] = _octets
    heavy: bool = False
    recover: Callable[[int, int, bytes], bytes] | None = None
    audioop: Callable[[bytes, int], bytes] | None = None  # where `to_uplink` is no more than that

    @property
    def two_args(self) -> Callable[[bytes, int], bytes]:
        """`to_uplink` as audioop's functions are called, with a 2 behind the payload."""
        to_uplink = self.to_uplink
        return self.audioop or (lambda payload, _: to_uplink(payload))

    @property
    def octet_is_unit(self) -> bool:
        """A payload of n octets is n units, as of G.711: it may take the track's fast path."""
        return self.units is _octets and not self.heavy


def make_decoder(codec: str, uplink: AudioFormat, clock: int = UNIT_RATE) -> Decoder | None:
    """The decoder for an SDP encoding name and RTP clock; None when there is none."""
    match codec.upper(), clock:
        case ("PCMU" | "PCMA") as law, 8000:
            if _PASS_THROUGH[law] is uplink.encoding:
                return Decoder(bytes, _G711[law])
            linear = _G711[law]
            plain = g711.AUDIOOP[law] if uplink == LINEAR else None
            return Decoder(_chain(linear, UNIT_RATE, uplink), linear, audioop=plain)
        case "G722", 8000:
            return _g722(uplink)
        case "OPUS", 48_000 if opus_is_installed():
            return _opus(uplink)
        case "L16", _ if clock in L16_RATES:
            return _l16(uplink, clock)
        case _:
            return None


def _chain(linear: Transcode, rate: int, uplink: AudioFormat) -> Transcode:
    """`linear`, and what makes the uplink's format of it."""
    encode = _FROM_LINEAR.get(uplink.encoding)
    if rate == uplink.sample_rate:
        return linear if encode is None else lambda payload: encode(linear(payload))
    change = RateChanger(rate, uplink.sample_rate).change
    if encode is None:
        return lambda payload: change(linear(payload))
    return lambda payload: encode(change(linear(payload)))


def _g722(uplink: AudioFormat) -> Decoder:
    """G.722's RTP clock is 8 kHz although it carries 16 kHz (RFC 3551 section 4.5.2).

    Its lower band alone is the 8 kHz signal, so nothing is resampled for an 8 kHz uplink.
    """
    wide = uplink.sample_rate > UNIT_RATE
    rate = 16_000 if wide else UNIT_RATE
    coder = G722(rate, G722_BIT_RATE)

    def linear(payload: bytes) -> bytes:
        pcm: bytes = coder.decode(payload).tobytes()
        return pcm

    return Decoder(_chain(linear, rate, uplink), linear, heavy=wide)


def _opus(uplink: AudioFormat) -> Decoder:
    coder = OpusDecoder(uplink.sample_rate)
    encode = _FROM_LINEAR.get(uplink.encoding, bytes)
    return Decoder(
        to_uplink=lambda payload: encode(coder.decode(payload)),
        to_linear=coder.decode,
        units=opus_units,
        heavy=True,
        recover=lambda units, packets, following: encode(coder.recover(units, packets, following)),
    )


def _l16(uplink: AudioFormat, clock: int) -> Decoder:
    """Samples in network order (RFC 3551 section 4.5.11); what is no whole unit is left out."""
    unit_octets = 2 * clock // UNIT_RATE

    def units(payload: bytes) -> int:
        return len(payload) // unit_octets

    def linear(payload: bytes) -> bytes:
        samples = array("h", payload[: units(payload) * unit_octets])
        samples.byteswap()
        return samples.tobytes()

    return Decoder(_chain(linear, clock, uplink), linear, units=units)
