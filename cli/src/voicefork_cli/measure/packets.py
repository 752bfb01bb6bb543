"""RTP packets as a party's socket saw them: the material of every measurement.

Times are CLOCK_REALTIME nanoseconds (`time.time_ns()`; SO_TIMESTAMPNS on receive), so that what
two processes of one machine saw can be compared.
"""

from __future__ import annotations

from typing import NamedTuple

AUDIO_TYPES = {0: "PCMU", 8: "PCMA"}  # RFC 3551 section 6
SAMPLE_RATE = 8000
PACKET_MS = 20
HEADER = 12
VERSION = 0x80
RTCP_TYPES = range(192, 224)  # RFC 5761 section 4: the second octet of an RTCP packet


class Packet(NamedTuple):
    """One received RTP packet (RFC 3550 section 5.1)."""

    arrival_ns: int
    seq: int
    timestamp: int
    ssrc: int
    payload_type: int
    marker: bool
    payload: bytes


class Sent(NamedTuple):
    """One RTP packet a party sent."""

    sent_ns: int
    seq: int
    timestamp: int
    payload_type: int
    payload: bytes


def parse_packet(datagram: bytes, arrival_ns: int) -> Packet | None:
    """Reads one datagram, or says None where it is no RTP (STUN, RTCP, rubbish).

    CSRCs, a header extension and padding are cut away.
    """
    if len(datagram) < HEADER or datagram[0] & 0xC0 != VERSION or datagram[1] in RTCP_TYPES:
        return None
    start = HEADER + 4 * (datagram[0] & 0x0F)
    if datagram[0] & 0x10:
        if len(datagram) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
    end = len(datagram) - (datagram[-1] if datagram[0] & 0x20 else 0)
    if end < start:
        return None
    return Packet(
        arrival_ns,
        int.from_bytes(datagram[2:4], "big"),
        int.from_bytes(datagram[4:8], "big"),
        int.from_bytes(datagram[8:12], "big"),
        datagram[1] & 0x7F,
        bool(datagram[1] & 0x80),
        datagram[start:end],
    )
