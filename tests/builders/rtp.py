"""Builds RTP datagrams, and reads them from capture files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from siprec_worker.protocol.dtmf import TelephoneEvent, write_event
from siprec_worker.protocol.rtp import RtpPacket, write_rtp

SSRC = 0x5EED
PACKET = 160  # samples of 20 ms


def rtp(
    sequence: int,
    payload: bytes | None = None,
    *,
    payload_type: int = 0,
    timestamp: int | None = None,
    ssrc: int = SSRC,
) -> bytes:
    """The datagram of `packet`."""
    return write_rtp(
        packet(sequence, payload, payload_type=payload_type, timestamp=timestamp, ssrc=ssrc)
    )


def packet(
    sequence: int,
    payload: bytes | None = None,
    *,
    payload_type: int = 0,
    timestamp: int | None = None,
    ssrc: int = SSRC,
) -> RtpPacket:
    """The n-th packet of a stream of 20 ms packets, whose payload tells the number."""
    return RtpPacket(
        payload_type,
        sequence & 0xFFFF,
        (sequence * PACKET if timestamp is None else timestamp) & 0xFFFFFFFF,
        ssrc,
        numbered(sequence) if payload is None else payload,
    )


def numbered(number: int, samples: int = PACKET) -> bytes:
    """G.711 audio that tells packets apart."""
    return bytes((number % 251,)) * samples


def event(sequence: int, timestamp: int, code: int, duration: int, *, end: bool = False) -> bytes:
    payload = write_event(TelephoneEvent(code, end, 10, duration))
    return rtp(sequence, payload=payload, payload_type=101, timestamp=timestamp)


class Captured(NamedTuple):
    at: float  # seconds
    port: int  # destination
    data: bytes


_PCAP_HEADER = 24
_ETHERNET, _LINUX_SLL, _RAW = 1, 113, 101
_LINK_BYTES = {_ETHERNET: 14, _LINUX_SLL: 16, _RAW: 0}


def read_pcap(path: Path) -> Iterator[Captured]:
    """The UDP datagrams of a classic pcap file over IPv4."""
    content = path.read_bytes()
    order = "<" if content[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction = 1e-9 if b"\x3c\xb2" in content[:4] or b"\xb2\x3c" in content[:4] else 1e-6
    (link,) = struct.unpack_from(order + "I", content, 20)
    at = _PCAP_HEADER
    while at < len(content):
        seconds, part, kept, _ = struct.unpack_from(order + "IIII", content, at)
        frame = content[at + 16 : at + 16 + kept]
        at += 16 + kept
        ip = frame[_LINK_BYTES[link] :]
        if link == _ETHERNET and frame[12:14] == b"\x81\x00":
            ip = frame[18:]
        if ip[0] >> 4 != 4 or ip[9] != 17:
            continue
        udp = ip[4 * (ip[0] & 15) :]
        port, size = struct.unpack_from("!HH", udp, 2)
        yield Captured(seconds + part * fraction, port, udp[8:size])
