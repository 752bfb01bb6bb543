"""Answers of a recording server to SDP offers, and its own offers (RFC 3264, RFC 7866)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from siprec_worker.errors import OfferRejected
from siprec_worker.protocol.codecs import SECURE_PROTOCOLS, Capabilities
from siprec_worker.protocol.sdes import SrtpKeys, agreed_keys, answering_crypto
from siprec_worker.protocol.sdp import (
    Attribute,
    Direction,
    Media,
    Payload,
    SessionDescription,
    address_type,
)


@dataclass(frozen=True, slots=True)
class AcceptedLine:
    """One m-line that is recorded, as both sides now understand it."""

    index: int
    label: str | None
    local_port: int
    remote_host: str  # "" where the offer names none: latch on the first packet
    remote_port: int
    remote_rtcp_port: int
    payloads: Mapping[int, Payload]
    ptime_ms: int
    direction: Direction  # ours: RECVONLY or INACTIVE
    on_hold: bool
    rtcp_mux: bool = False
    keys: SrtpKeys | None = None  # None: the line is not protected


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: SessionDescription
    lines: tuple[AcceptedLine, ...] = field(default=())

    @property
    def body(self) -> bytes:
        return self.sdp.encode()


def recordable_lines(offer: SessionDescription, capabilities: Capabilities) -> tuple[int, ...]:
    """Indexes of the m-lines that need a port of ours. Raises OfferRejected where there is none."""
    found = tuple(i for i, media in enumerate(offer.media) if _recordable(media, capabilities))
    if not found:
        offered = [f"{m.kind} {m.port} {m.protocol} {' '.join(m.formats)}" for m in offer.media]
        raise OfferRejected(f"no m-line to record in {offered}")
    return found


def _recordable(media: Media, capabilities: Capabilities) -> bool:
    return (
        media.kind == "audio"
        and media.port != 0
        and capabilities.can_transport(media)
        and bool(capabilities.payloads_of(media))
    )


def answer(  # noqa: PLR0913, PLR0917 - the description's parts
    offer: SessionDescription,
    capabilities: Capabilities,
    host: str,
    ports: Mapping[int, int],
    session_id: int = 1,
    version: int = 1,
    previous: SessionDescription | None = None,
) -> Answer:
    """Answers every offered m-line, in order. `previous`: our last description, for its keys.

    `ports` maps m-line indexes to our RTP ports; a re-offer passes the same ports for the lines
    it already had. A line without a port, or that cannot be recorded, is refused with port 0.
    Every payload type that can be taken is echoed, because OpenSIPS' rtpengine gives a recording
    up when one that it offered is missing. Raises OfferRejected where nothing can be recorded.
    """
    recordable = set(recordable_lines(offer, capabilities))
    media, lines = [], []
    for index, offered in enumerate(offer.media):
        port = ports.get(index, 0) if index in recordable else 0
        if not port:
            media.append(_refused(offered))
            continue
        payloads = capabilities.payloads_of(offered)
        mux = capabilities.rtcp_mux and offered.rtcp_mux
        answered = _answered(offer, offered, port, capabilities, mux)
        if offered.protocol.upper() in SECURE_PROTOCOLS:
            known = previous.media[index].crypto if previous and index < len(previous.media) else ()
            crypto = Attribute("crypto", answering_crypto(offered.crypto, known).encode())
            answered = replace(answered, attributes=(*answered.attributes, crypto))
        media.append(answered)
        lines.append(_accepted(index, offer, offered, answered, payloads, mux))
    if not lines:
        raise OfferRejected("no port for any m-line")
    sdp = SessionDescription(
        connection=host, origin=_origin(session_id, version, host), media=tuple(media)
    )
    return Answer(sdp, tuple(lines))


def closed(offer: SessionDescription) -> bool:
    """Every m-line is given up (RFC 3264 section 8.2): for a call that has lines, no fault."""
    return bool(offer.media) and not any(media.port for media in offer.media)


def closing_answer(
    offer: SessionDescription, host: str, session_id: int, version: int
) -> SessionDescription:
    """Answers a re-offer that gives up every m-line."""
    media = tuple(_refused(offered) for offered in offer.media)
    origin = _origin(session_id, version, host)
    return SessionDescription(connection=host, origin=origin, media=media)


def _refused(offered: Media) -> Media:
    """RFC 3264 section 6: the same line with port 0."""
    label = tuple(a for a in offered.attributes if a.name == "label")
    return replace(offered, port=0, connection="", attributes=label)


def _answered(
    offer: SessionDescription, offered: Media, port: int, capabilities: Capabilities, mux: bool
) -> Media:
    payloads = {}
    for pt, payload in capabilities.payloads_of(offered).items():
        codec = capabilities.codec_of(payload)
        said = codec.answer_fmtp if codec else ""
        payloads[pt] = payload._replace(fmtp=said) if said else payload
    attributes = _payload_attributes(payloads)
    if offered.ptime_ms:
        attributes.append(Attribute("ptime", str(offered.ptime_ms)))
    attributes.append(Attribute(_answering_direction(offer.direction_of(offered)).value))
    if offered.label is not None:
        attributes.append(Attribute("label", offered.label))
    if mux:
        attributes.append(Attribute("rtcp-mux"))
    return Media(
        kind=offered.kind,
        port=port,
        protocol=offered.protocol,
        formats=tuple(str(pt) for pt in payloads),
        attributes=tuple(attributes),
    )


def _answering_direction(offered: Direction) -> Direction:
    # We never send, so to a recvonly offer only inactive is true (RFC 3264 section 6.1).
    sends = offered in (Direction.SENDONLY, Direction.SENDRECV)
    return Direction.RECVONLY if sends else Direction.INACTIVE


def _payload_attributes(payloads: Mapping[int, Payload]) -> list[Attribute]:
    attributes = []
    for pt, payload in payloads.items():
        channels = f"/{payload.channels}" if payload.channels > 1 else ""
        attributes.append(Attribute("rtpmap", f"{pt} {payload.name}/{payload.rate}{channels}"))
        if payload.fmtp:
            attributes.append(Attribute("fmtp", f"{pt} {payload.fmtp}"))
    return attributes


def _accepted(  # noqa: PLR0913, PLR0917 - both sides of one line
    index: int,
    remote: SessionDescription,
    theirs: Media,
    ours: Media,
    payloads: Mapping[int, Payload],
    mux: bool,
) -> AcceptedLine:
    direction = ours.own_direction or Direction.RECVONLY
    return AcceptedLine(
        index=index,
        label=ours.label,
        local_port=ours.port,
        remote_host=remote.address_of(theirs),
        remote_port=theirs.port,
        remote_rtcp_port=theirs.port if mux else _without_mux(theirs).rtcp_port,
        payloads=dict(payloads),
        ptime_ms=theirs.ptime_ms or 20,
        direction=direction,
        on_hold=remote.on_hold(theirs),
        rtcp_mux=mux,
        keys=agreed_keys(ours.crypto, theirs.crypto),
    )


def _without_mux(media: Media) -> Media:
    """The line as it counts when rtcp-mux was not agreed (RFC 5761 section 5.1.1)."""
    return replace(media, attributes=tuple(a for a in media.attributes if a.name != "rtcp-mux"))


def _origin(session_id: int, version: int, host: str) -> str:
    return f"- {session_id} {version} IN {address_type(host)} {host}"


def reoffer(
    previous: SessionDescription, host: str, ports: Mapping[int, int], version: int
) -> SessionDescription:
    """Our last description as an offer of our own, at `host` and `ports` (by m-line index).

    For the re-INVITE of a worker that takes a dialog over, and for the 200 to a re-INVITE that
    brings no offer (RFC 3261 section 14.2). A line without a port stays refused.
    """
    media = tuple(
        replace(line, port=ports.get(index, 0) if line.port else 0)
        for index, line in enumerate(previous.media)
    )
    fields = previous.origin.split()
    session_id = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 1
    origin = _origin(session_id, version, host)
    return replace(previous, connection=host, origin=origin, media=media)


def first_offer(
    host: str,
    ports: Sequence[int],
    capabilities: Capabilities,
    session_id: int = 1,
    version: int = 1,
) -> SessionDescription:
    """An offer to an INVITE that brought none: one recvonly line per port, labelled "1", "2"..."""
    payloads: dict[int, Payload] = {}
    dynamic = iter(range(96, 128))
    for codec in capabilities.codecs:
        if not codec.offered:
            continue
        pt = codec.static_pt if codec.static_pt is not None else next(dynamic)
        payloads[pt] = Payload(codec.name, codec.rate, codec.channels, codec.fmtp)
    media = tuple(
        Media(
            port=port,
            formats=tuple(str(pt) for pt in payloads),
            attributes=(
                *_payload_attributes(payloads),
                Attribute(Direction.RECVONLY.value),
                Attribute("label", str(number)),
            ),
        )
        for number, port in enumerate(ports, start=1)
    )
    return SessionDescription(
        connection=host, origin=_origin(session_id, version, host), media=media
    )


def accepted_lines(
    local: SessionDescription, remote: SessionDescription
) -> tuple[AcceptedLine, ...]:
    """What is recorded once the peer has answered an offer of ours."""
    lines = []
    for index, (ours, theirs) in enumerate(zip(local.media, remote.media, strict=False)):
        if not ours.port or not theirs.port:
            continue
        payloads = {pt: p for pt, p in ours.payloads.items() if str(pt) in theirs.formats}
        mux = ours.rtcp_mux and theirs.rtcp_mux
        lines.append(_accepted(index, remote, theirs, ours, payloads, mux))
    return tuple(lines)
