"""RTCP (RFC 3550 section 6): compound packets taken apart, receiver reports put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from siprec_worker.errors import RtpError

_HEADER = Struct("!BBH")  # version, padding and count; packet type; length in words minus one
_SSRC = Struct("!I")
_SENDER_INFO = Struct("!QIII")  # NTP timestamp, RTP timestamp, packets, octets
_BLOCK = Struct("!IIIIII")
_SR, _RR, _SDES, _BYE = 200, 201, 202, 203
_CNAME = 1
_VERSION_2 = 0x80
_WORD = 4
_MAX_LOST = 0x7FFFFF  # cumulative loss is a signed 24-bit number
_MAX_COUNT = 31


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How one source is received (section 6.4.1)."""

    ssrc: int
    fraction_lost: int  # of 256, since the last report
    lost: int  # cumulative, may be negative after duplicates
    highest_sequence: int  # extended by the number of wraps
    jitter: int  # in units of the RTP clock
    last_sr: int = 0  # middle 32 bits of the last sender report's NTP time
    since_last_sr: int = 0  # 1/65536 s


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int  # 64-bit NTP timestamp
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """Chunks of (SSRC, items); an item is (type, text)."""

    chunks: tuple[tuple[int, tuple[tuple[int, str], ...]], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    ssrcs: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OtherRtcp:
    """A packet type this side has no use for (feedback, XR, APP)."""

    packet_type: int
    content: bytes


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye | OtherRtcp


def parse_rtcp(data: bytes) -> list[RtcpPacket]:
    """The packets of one datagram, in order. Raises RtpError where lengths do not fit."""
    packets: list[RtcpPacket] = []
    at = 0
    while at < len(data):
        if at + _HEADER.size > len(data):
            raise RtpError("RTCP header is cut off")
        first, packet_type, words = _HEADER.unpack_from(data, at)
        if first >> 6 != 2:  # noqa: PLR2004 - the version
            raise RtpError(f"RTCP version {first >> 6}")
        end = at + _WORD * (words + 1)
        if end > len(data):
            raise RtpError(f"RTCP packet of {words + 1} words does not fit")
        body = data[at + _HEADER.size : end]
        if first & 0x20:
            body = _without_padding(body)
        packets.append(_parse_one(packet_type, first & 0x1F, body))
        at = end
    return packets


def write_receiver_report(report: ReceiverReport, cname: str) -> bytes:
    """A compound packet: the report and, as section 6.1 demands, an SDES with the CNAME."""
    blocks = b"".join(_write_block(block) for block in report.blocks[:_MAX_COUNT])
    body = _SSRC.pack(report.ssrc) + blocks
    name = cname.encode()[:255]
    chunk = _SSRC.pack(report.ssrc) + bytes((_CNAME, len(name))) + name
    chunk += bytes(_WORD - len(chunk) % _WORD)  # at least one zero octet ends the items
    return _packet(_RR, len(report.blocks[:_MAX_COUNT]), body) + _packet(_SDES, 1, chunk)


def write_goodbye(ssrcs: Sequence[int]) -> bytes:
    return _packet(_BYE, len(ssrcs), b"".join(_SSRC.pack(ssrc) for ssrc in ssrcs))


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(_VERSION_2 | count, packet_type, len(body) // _WORD) + body


def _without_padding(body: bytes) -> bytes:
    padding = body[-1] if body else 0
    if not padding or padding > len(body):
        raise RtpError(f"{padding} bytes of RTCP padding do not fit")
    return body[:-padding]


def _parse_one(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    match packet_type:
        case 200:
            return _parse_sender_report(count, body)
        case 201:
            if len(body) < _SSRC.size:
                raise RtpError("receiver report is cut off")
            return ReceiverReport(_SSRC.unpack_from(body)[0], _parse_blocks(count, body, 4))
        case 202:
            return _parse_sdes(count, body)
        case 203:
            return _parse_goodbye(count, body)
        case _:
            return OtherRtcp(packet_type, body)


def _parse_sender_report(count: int, body: bytes) -> SenderReport:
    blocks_at = _SSRC.size + _SENDER_INFO.size
    if len(body) < blocks_at:
        raise RtpError("sender report is cut off")
    ssrc = _SSRC.unpack_from(body)[0]
    ntp, timestamp, packets, octets = _SENDER_INFO.unpack_from(body, _SSRC.size)
    blocks = _parse_blocks(count, body, blocks_at)
    return SenderReport(ssrc, ntp, timestamp, packets, octets, blocks)


def _parse_blocks(count: int, body: bytes, at: int) -> tuple[ReportBlock, ...]:
    if at + count * _BLOCK.size > len(body):
        raise RtpError(f"{count} report blocks do not fit")
    blocks = []
    for start in range(at, at + count * _BLOCK.size, _BLOCK.size):
        ssrc, loss, highest, jitter, last_sr, since = _BLOCK.unpack_from(body, start)
        lost = loss & 0xFFFFFF
        if lost > _MAX_LOST:
            lost -= 1 << 24
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, since))
    return tuple(blocks)


def _write_block(block: ReportBlock) -> bytes:
    lost = max(-_MAX_LOST - 1, min(_MAX_LOST, block.lost)) & 0xFFFFFF
    return _BLOCK.pack(
        block.ssrc,
        (block.fraction_lost & 0xFF) << 24 | lost,
        block.highest_sequence & 0xFFFFFFFF,
        block.jitter & 0xFFFFFFFF,
        block.last_sr,
        block.since_last_sr & 0xFFFFFFFF,
    )


def _parse_sdes(count: int, body: bytes) -> SourceDescription:
    chunks = []
    at = 0
    for _ in range(count):
        if at + _SSRC.size > len(body):
            raise RtpError("SDES chunk is cut off")
        ssrc = _SSRC.unpack_from(body, at)[0]
        at += _SSRC.size
        items = []
        while at < len(body) and body[at]:
            if at + 2 > len(body) or at + 2 + body[at + 1] > len(body):
                raise RtpError("SDES item is cut off")
            text = body[at + 2 : at + 2 + body[at + 1]]
            items.append((body[at], text.decode("utf-8", "replace")))
            at += 2 + body[at + 1]
        at += _WORD - at % _WORD  # the zero octet and the padding up to the next word
        chunks.append((ssrc, tuple(items)))
    return SourceDescription(tuple(chunks))


def _parse_goodbye(count: int, body: bytes) -> Goodbye:
    end = count * _SSRC.size
    if end > len(body):
        raise RtpError(f"{count} SSRCs of a BYE do not fit")
    ssrcs = tuple(_SSRC.unpack_from(body, at)[0] for at in range(0, end, _SSRC.size))
    reason = ""
    if end < len(body):
        reason = body[end + 1 : end + 1 + body[end]].decode("utf-8", "replace")
    return Goodbye(ssrcs, reason)
