"""What this worker can record, by what is installed beside it."""

from __future__ import annotations

from importlib.util import find_spec

from siprec_worker.media.decode import L16_RATES
from siprec_worker.media.opus import opus_is_installed
from siprec_worker.protocol.codecs import (
    COMFORT_NOISE,
    G722,
    OPUS,
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    Capabilities,
    Codec,
    Purpose,
)


def installed_capabilities() -> Capabilities:
    """Speech codecs, and keys and comfort noise at each of their clock rates."""
    speech = [PCMU, PCMA, G722]
    if opus_is_installed():
        speech.append(OPUS)
    # Taken when it is offered; not asked for, because it is twice to twelve times the octets.
    speech += [Codec("L16", rate, offered=False) for rate in L16_RATES]
    others = sorted({codec.rate for codec in speech} - {TELEPHONE_EVENT.rate})
    keys = [
        Codec(
            TELEPHONE_EVENT.name,
            rate,
            purpose=Purpose.EVENTS,
            fmtp="0-16",
            offered=rate == OPUS.rate,
        )
        for rate in others
    ]
    noise = [
        Codec(COMFORT_NOISE.name, rate, purpose=Purpose.NOISE, offered=False) for rate in others
    ]
    return Capabilities(
        codecs=(*speech, TELEPHONE_EVENT, *keys, COMFORT_NOISE, *noise),
        rtcp_mux=True,
        srtp=find_spec("pylibsrtp") is not None,
    )
