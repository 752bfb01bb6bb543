"""Offers and answers of one recorded call, and the sockets and tracks they lead to (RFC 3264)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address

from siprec_worker.errors import OfferRejected
from siprec_worker.media.model import GapCause
from siprec_worker.protocol import offer_answer as oa
from siprec_worker.protocol.codecs import Capabilities
from siprec_worker.protocol.sdp import SessionDescription, parse_sdp
from siprec_worker.session.call import Line, RecordedCall
from siprec_worker.session.ports import LegSocket, MediaSockets
from siprec_worker.session.receiver_reports import Reporting

OFFERED_LINES = 2  # in the answer to an INVITE without an offer: one per party


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What every call's descriptions have in common."""

    sockets: MediaSockets
    capabilities: Capabilities
    host: str  # in our descriptions

    def answer(self, call: RecordedCall, offered: bytes | None) -> bytes:
        """The SDP that answers `offered` (or offers, if it is None); sockets listen from now on.

        Lines that were there keep their ports (RFC 3264 section 8). Raises OfferRejected,
        SdpError, NoPorts; nothing has changed then but sockets that were leased.
        """
        call.sdp_version += 1
        return self._offer(call) if offered is None else self._answer(call, parse_sdp(offered))

    def _offer(self, call: RecordedCall) -> bytes:
        version = call.sdp_version
        if call.local_sdp is not None:
            offer = oa.reoffer(call.local_sdp, self.host, _ports(call), version)
        else:
            for index in range(OFFERED_LINES):
                call.spare_sockets[index] = self.sockets.leg()
            ports = [socket.port for socket in call.spare_sockets.values()]
            offer = oa.first_offer(self.host, ports, self.capabilities, call.sdp_session, version)
        call.local_sdp, call.offering = offer, True
        return offer.encode()

    def _answer(self, call: RecordedCall, offer: SessionDescription) -> bytes:
        if oa.closed(offer):  # of a new call: its media come later
            local = oa.closing_answer(offer, self.host, call.sdp_session, call.sdp_version)
            call.local_sdp, call.remote_sdp, call.offering = local, offer, False
            self._record(call, (), offer)
            return local.encode()
        wanted = oa.recordable_lines(offer, self.capabilities)
        for index in wanted:
            if index not in call.lines and index not in call.spare_sockets:
                call.spare_sockets[index] = self.sockets.leg()
        ports = {i: socket.port for i, socket in _sockets(call).items() if i in wanted}
        answer = oa.answer(
            offer,
            self.capabilities,
            self.host,
            ports,
            call.sdp_session,
            call.sdp_version,
            call.local_sdp,
        )
        call.local_sdp, call.remote_sdp, call.offering = answer.sdp, offer, False
        self._record(call, answer.lines, offer)
        return answer.body

    def take_answer(self, call: RecordedCall, body: bytes) -> None:
        """The peer's answer to an offer of ours, if one is out. Raises SdpError, OfferRejected."""
        if call.local_sdp is None or not call.offering:
            return
        call.offering = False
        answer = parse_sdp(body)
        call.remote_sdp = answer
        self._record(call, oa.accepted_lines(call.local_sdp, answer), answer)

    def _record(
        self, call: RecordedCall, accepted: tuple[oa.AcceptedLine, ...], theirs: SessionDescription
    ) -> None:
        """Tracks and sockets as the answer says; a line that is gone gives its ports back."""
        for named in accepted:
            source = _source(call.peer_host, named, theirs, self.host)
            _set_up(call, replace(named, remote_host=source))
        for index in call.lines.keys() - {line.index for line in accepted}:
            call.drop_line(index)


def _set_up(call: RecordedCall, line: oa.AcceptedLine) -> None:
    payloads = {pt: (p.name, p.rate) for pt, p in line.payloads.items()}
    known = call.lines.get(line.index)
    if known is None:
        socket = call.spare_sockets.pop(line.index)
        handle = line.index + 1
        track = call.audio.add_track(handle, payloads)
        reporting = Reporting(track, socket, call.session_id)
        call.lines[line.index] = Line(line, socket, handle, track, reporting)
    else:
        known.accepted = line
        call.audio.update_track(known.handle, payloads)
    now_line = call.lines[line.index]
    track = now_line.track
    held = GapCause.ON_HOLD if line.on_hold else None
    call.audio.expect_silence(now_line.handle, held)
    try:
        now_line.socket.listen(track.receive, track.receive_rtcp, line)
    except ValueError as error:
        raise OfferRejected(f"m-line {line.index}, {line.remote_host!r}: {error}") from error


def _source(
    peer_host: str, line: oa.AcceptedLine, theirs: SessionDescription, our_host: str
) -> str:
    """Where a line's RTP comes from: its c=, else o=, else where the INVITE came from.

    Neither a missing c=, a host name (which nothing here looks up) nor an address of the other
    family (from which nothing can come to ours) costs a recording.
    """
    origin = theirs.origin.split()
    for host in (line.remote_host, origin[-1] if origin else ""):
        version = _version(host)
        if version and version == (_version(our_host) or version):
            return str(ip_address(host))
    return peer_host


def _version(host: str) -> int:
    """4 or 6; 0 of what is no address."""
    try:
        return ip_address(host).version
    except ValueError:
        return 0


def _sockets(call: RecordedCall) -> dict[int, LegSocket]:
    return {
        **{i: line.socket for i, line in call.lines.items()},
        **call.spare_sockets,
    }


def _ports(call: RecordedCall) -> dict[int, int]:
    return {i: socket.port for i, socket in _sockets(call).items()}


def offered_again(call: RecordedCall, last: SessionDescription) -> bytes:
    """Our last description as an offer, after another worker's, which has had the next version.

    One of the same number would have to be the same (RFC 3264 section 8).
    """
    call.sdp_version += 2
    ports = {index: line.port for index, line in enumerate(last.media)}
    call.local_sdp = oa.reoffer(last, last.connection, ports, call.sdp_version)
    return call.local_sdp.encode()
