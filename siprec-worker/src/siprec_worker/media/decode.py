"""From a payload type's codec to the uplink's encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from G722 import G722

from siprec_worker.media import g711
from siprec_worker.media.model import Encoding

Transcode = Callable[[bytes], bytes]

SILENCE = {
    Encoding.PCM_S16LE: b"\0\0",
    Encoding.G711_ULAW: g711.ULAW_SILENCE,
    Encoding.G711_ALAW: g711.ALAW_SILENCE,
}
"""One sample of silence."""

_FROM_LINEAR: dict[Encoding, Transcode] = {
    Encoding.G711_ULAW: g711.linear_to_ulaw,
    Encoding.G711_ALAW: g711.linear_to_alaw,
}
_PASS_THROUGH = {"PCMU": Encoding.G711_ULAW, "PCMA": Encoding.G711_ALAW}
G722_BIT_RATE = 64_000


class Decoder(NamedTuple):
    """One codec of one stream. A payload of n octets is n samples at 8 kHz in all of them."""

    to_uplink: Transcode
    to_linear: Transcode


def make_decoder(codec: str, uplink: Encoding) -> Decoder | None:
    """The decoder for an SDP encoding name; None when there is none (it is then only counted).

    G.722's RTP clock is 8 kHz although it carries 16 kHz (RFC 3551 section 4.5.2); its lower band
    alone is the 8 kHz signal, so nothing is resampled.
    """
    linear: Transcode
    match codec.upper():
        case "PCMU":
            linear = g711.ulaw_to_linear
        case "PCMA":
            linear = g711.alaw_to_linear
        case "G722":
            linear = _g722_lower_band()
        case _:
            return None
    if uplink is Encoding.PCM_S16LE:
        return Decoder(linear, linear)
    if _PASS_THROUGH.get(codec.upper()) is uplink:
        return Decoder(bytes, linear)
    encode = _FROM_LINEAR[uplink]
    return Decoder(lambda payload: encode(linear(payload)), linear)


def _g722_lower_band() -> Transcode:
    decode = G722(8000, G722_BIT_RATE).decode

    def linear(payload: bytes) -> bytes:
        pcm: bytes = decode(payload).tobytes()
        return pcm

    return linear
