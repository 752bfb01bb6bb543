"""SRTP and SRTCP of one m-line (RFC 3711, RFC 7714), between its sockets and its track.

The roll-over counter is kept for each SSRC by libsrtp; a packet that comes twice, or is older than
the replay window, is refused by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pylibsrtp import Error, Policy, Session

from siprec_worker.protocol.sdes import SrtpKeys

Receive = Callable[[bytes], None]
Tap = Callable[[bytes, float], None]

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 10),
    "AES_CM_128_HMAC_SHA1_32": (Policy.SRTP_PROFILE_AES128_CM_SHA1_32, 4),
    "AEAD_AES_128_GCM": (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 0),
    "AEAD_AES_256_GCM": (Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 0),
}
"""Of each suite libsrtp's profile, and the octets of RTP's tag that follow an MKI."""

_RTCP_TAG = 10  # of both AES-CM suites (RFC 4568 section 6.2.2)
_WINDOW = 1024  # packets; libsrtp's 128 are 2.5 s, of which a burst after an outage may be more


@dataclass(slots=True)
class SrtpStats:
    replayed: int = 0  # came twice, or too late to tell
    refused: int = 0  # not made with the agreed key, or changed on the way
    malformed: int = 0


class SrtpLine:
    """Give it what the sockets brought; `rtp` and `rtcp` get it in the clear."""

    def __init__(self, keys: SrtpKeys, rtp: Receive, rtcp: Receive) -> None:
        self.stats = SrtpStats()
        self._rtp, self._rtcp = rtp, rtcp
        self._tap: Tap | None = None
        self._arrived = 0.0
        self._use(keys)

    def rekey(self, keys: SrtpKeys) -> None:
        """The keys of another offer; the same ones leave counters and replay window alone."""
        if keys != self._keys:
            self._use(keys)

    def receive(self, data: bytes) -> None:
        """One datagram of the RTP socket."""
        packet = self._opened(self._inbound.unprotect, data, self._tag_bytes)
        if packet is None:
            return
        if self._tap is not None:
            self._tap(packet, self._arrived)
        self._rtp(packet)

    def receive_rtcp(self, data: bytes) -> None:
        packet = self._opened(self._inbound.unprotect_rtcp, data, self._tag_bytes and _RTCP_TAG)
        if packet is not None:
            self._rtcp(packet)

    def protect_rtcp(self, data: bytes) -> bytes:
        """Our own report, with our key."""
        protected: bytes = self._outbound.protect_rtcp(data)
        return protected

    def tap(self, tap: Tap | None) -> None:
        """Hands every packet also to `tap`, with the arrival that was noted for it."""
        self._tap = tap

    def note_arrival(self, _: bytes, at: float) -> None:
        """When the datagram came that `receive` is given next."""
        self._arrived = at

    def _use(self, keys: SrtpKeys) -> None:
        profile, self._tag_bytes = _PROFILES[keys.suite]
        self._keys = keys
        inbound = Policy(keys.theirs, Policy.SSRC_ANY_INBOUND, srtp_profile=profile)
        inbound.window_size = _WINDOW
        self._inbound = Session(inbound)
        self._outbound = Session(Policy(keys.ours, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))

    def _opened(
        self, unprotect: Callable[[bytes], bytes], data: bytes, tag_bytes: int
    ) -> bytes | None:
        if self._keys.mki_bytes:
            data = _without_mki(data, self._keys.mki_bytes, tag_bytes)
        try:
            return unprotect(data)
        except Error as error:
            words = str(error)
            if "replay" in words or "too old" in words:
                self.stats.replayed += 1
            elif "auth" in words or "cipher" in words:
                self.stats.refused += 1
            else:
                self.stats.malformed += 1
        except ValueError:  # longer than libsrtp's buffer
            self.stats.malformed += 1
        return None


def _without_mki(data: bytes, mki_bytes: int, tag_bytes: int) -> bytes:
    """The MKI stands before an HMAC's tag (RFC 3711 section 3.1), behind all of a GCM packet."""
    end = len(data) - tag_bytes
    return data[: max(0, end - mki_bytes)] + data[end:]


def muxed(rtp: Receive, rtcp: Receive) -> Receive:
    """Tells RTCP on an RTP socket by its packet type (RFC 5761 section 4: 192 to 223)."""

    def receive(data: bytes) -> None:
        if len(data) > 1 and 192 <= data[1] <= 223:  # noqa: PLR2004 - the octets of the RFC
            rtcp(data)
        else:
            rtp(data)

    return receive
