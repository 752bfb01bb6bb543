"""The codecs that can be recorded, and which payload types of an m-line they are (RFC 4855)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from siprec_worker.protocol.sdes import usable_crypto
from siprec_worker.protocol.sdp import Media, Payload


class Purpose(Enum):
    SPEECH = "speech"
    EVENTS = "events"  # RFC 4733
    NOISE = "noise"  # RFC 3389


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoding that the worker takes; matched by name, rate and channels."""

    name: str
    rate: int
    channels: int = 1
    purpose: Purpose = Purpose.SPEECH
    static_pt: int | None = None  # only for offers of our own
    fmtp: str = ""
    answer_fmtp: str = ""  # what an answer says of it; "": what the offer said
    offered: bool = True  # in offers of our own


PCMU: Final = Codec("PCMU", 8000, static_pt=0)
PCMA: Final = Codec("PCMA", 8000, static_pt=8)
G722: Final = Codec("G722", 8000, static_pt=9)  # that clock although it carries 16 kHz (RFC 3551)
_FEC: Final = "useinbandfec=1"
OPUS: Final = Codec("opus", 48_000, 2, fmtp=_FEC, answer_fmtp=_FEC)  # RFC 7587: always /48000/2
COMFORT_NOISE: Final = Codec("CN", 8000, purpose=Purpose.NOISE, static_pt=13)
TELEPHONE_EVENT: Final = Codec("telephone-event", 8000, purpose=Purpose.EVENTS, fmtp="0-16")

# What peers write of codecs whose rtpmap says other than what is sent: G.722's clock is 8 kHz
# (RFC 3551 section 4.5.2), Opus is always /2 (RFC 7587 section 7).
_AS_MEANT: Final = {("g722", 16_000): (8000, 1), ("opus", 48_000): (48_000, 2)}

SECURE_PROTOCOLS: Final = ("RTP/SAVP", "RTP/SAVPF")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be recorded. Another codec is one more entry in the table."""

    codecs: tuple[Codec, ...]
    protocols: tuple[str, ...] = ("RTP/AVP", "RTP/AVPF")
    rtcp_mux: bool = False
    srtp: bool = False  # RTP/SAVP and RTP/SAVPF with a=crypto

    def codec_of(self, payload: Payload) -> Codec | None:
        """Names are case-insensitive (RFC 4855 section 3)."""
        name = payload.name.lower()
        rate, channels = _AS_MEANT.get((name, payload.rate), (payload.rate, payload.channels))
        wanted = (name, rate, channels)
        found = (c for c in self.codecs if (c.name.lower(), c.rate, c.channels) == wanted)
        return next(found, None)

    def can_transport(self, media: Media) -> bool:
        """The m-line's profile, and a key for it where it needs one."""
        protocol = media.protocol.upper()
        if protocol in SECURE_PROTOCOLS:
            return self.srtp and bool(usable_crypto(media.crypto))
        return protocol in self.protocols

    def payloads_of(self, media: Media) -> dict[int, Payload]:
        """Every offered payload type that can be taken; none if no speech is among them."""
        taken: dict[int, Payload] = {}
        speech = False
        for pt, payload in media.payloads.items():
            if codec := self.codec_of(payload):
                taken[pt] = payload._replace(rate=codec.rate, channels=codec.channels)
                speech = speech or codec.purpose is Purpose.SPEECH
        return taken if speech else {}


NARROWBAND_CAPABILITIES: Final = Capabilities((PCMU, PCMA, TELEPHONE_EVENT, COMFORT_NOISE))
