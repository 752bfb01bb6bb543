"""How a call comes in, changes and ends: the SIP side's events turned into recorded calls."""

from __future__ import annotations

import structlog

from siprec_worker.errors import (
    MetadataError,
    NoPorts,
    OfferRejected,
    PeerError,
    SdpError,
)
from siprec_worker.media.model import GapCause
from siprec_worker.protocol import offer_answer as oa
from siprec_worker.protocol.legs import LegHints
from siprec_worker.protocol.legs import legs as attribute_legs
from siprec_worker.protocol.rs_metadata import RecordingMetadata
from siprec_worker.protocol.rs_metadata_xml import parse_metadata
from siprec_worker.protocol.sdp import parse_sdp
from siprec_worker.protocol.sip import events as sip
from siprec_worker.protocol.sip.events import DialogId
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import Line, RecordedCall
from siprec_worker.session.model import Leg, LegKind
from siprec_worker.session.ports import LegSocket, SipSide
from siprec_worker.session.registry import Calls

log = structlog.get_logger(__name__)

KINDS = {"customer": LegKind.CUSTOMER, "pbx": LegKind.PBX, "unknown": LegKind.UNKNOWN}
OFFERED_LINES = 2  # in the answer to an INVITE without an offer: one per party
RETRY_AFTER = (("Retry-After", "5"),)


class Intake:
    """Takes the answering side's events, one after the other; owns no task and no timer."""

    def __init__(self, side: SipSide, calls: Calls, builder: CallBuilder) -> None:
        self._side = side
        self._calls = calls
        self._builder = builder

    def handle(self, event: sip.UasEvent, now: float) -> None:
        """One event of the SIP side. Never raises: what is wrong with an offer is answered."""
        match event:
            case sip.Invited(dialog_id, request, _, _):
                with structlog.contextvars.bound_contextvars(sip_call_id=request.call_id):
                    self._invited(event, now)
            case sip.Confirmed(dialog_id, body):
                self._confirmed(dialog_id, body, now)
            case sip.Cancelled(dialog_id, reinvite):
                if not reinvite:
                    self._gone(dialog_id, "cancelled", now)
            case sip.HungUp(dialog_id, by_peer, reason):
                self._gone(dialog_id, reason or ("bye" if by_peer else "ended here"), now)
            case sip.NotRecorded(dialog_id, reason):
                self._builder.metrics.not_recorded.inc()
                log.error("not recorded", reason=reason)
                self._gone(dialog_id, f"not recorded: {reason}", now)
            case sip.Unconfirmed(dialog_id):
                log.warning("no ACK yet: our re-INVITE is out", dialog=dialog_id)
            case _:
                pass

    # --- offers -----------------------------------------------------------------------------

    def _invited(self, event: sip.Invited, now: float) -> None:
        call = self._calls.by_dialog(event.dialog_id)
        try:
            if call is None:
                self._new_call(event, now)
            else:
                self._changed(call, event, now)
        except OfferRejected as rejected:
            self._refuse(event.dialog_id, rejected.sip_status, str(rejected))
        except (SdpError, PeerError) as error:
            self._refuse(event.dialog_id, 400, str(error))
        except NoPorts as full:
            self._refuse(event.dialog_id, 503, str(full), retry=True)

    def _new_call(self, event: sip.Invited, now: float) -> None:
        metadata = self._read_metadata(event.content.metadata)
        call = self._builder.build(event.dialog_id, event.request, metadata, now)
        try:
            sdp = self._answer(call, event.content.sdp, now)
        except BaseException:
            call.end("refused", now)
            raise
        self._attribute(call)
        self._calls.add(call)
        if not self._side.accept(event.dialog_id, sdp):
            self._gone(event.dialog_id, "cancelled", now)
            return
        log.info("call answered", call_id=call.identity.call_id, lines=len(call.lines))
        for warning in (*call.identity.warnings, *call.warnings):
            log.warning("call", call_id=call.identity.call_id, warning=warning)

    def _changed(self, call: RecordedCall, event: sip.Invited, now: float) -> None:
        """A re-INVITE or UPDATE: new metadata, a new offer, or both."""
        update = self._read_metadata(event.content.metadata)
        if update is not None:
            call.metadata = update if call.metadata is None else call.metadata.merged(update)
        if event.content.sdp is None and event.request.method == "UPDATE":
            self._side.accept(event.dialog_id, b"")
            return
        self._side.accept(event.dialog_id, self._answer(call, event.content.sdp, now))

    def _answer(self, call: RecordedCall, offered: bytes | None, now: float) -> bytes:
        """The SDP that answers `offered` (or offers, if it is None); sockets listen from now on.

        Lines that were there keep their ports (RFC 3264 section 8). Raises OfferRejected,
        SdpError, NoPorts; nothing has changed then but sockets that were leased.
        """
        capabilities, host = self._builder.capabilities, self._builder.host
        call.sdp_version += 1
        if offered is None:
            if call.local_sdp is not None:
                offer = oa.reoffer(call.local_sdp, host, _ports(call), call.sdp_version)
            else:
                for index in range(OFFERED_LINES):
                    call.spare_sockets[index] = self._builder.sockets.leg()
                fresh = [socket.port for socket in call.spare_sockets.values()]
                offer = oa.first_offer(
                    host, fresh, capabilities, call.sdp_session, call.sdp_version
                )
            call.local_sdp = offer
            return offer.encode()
        offer = parse_sdp(offered)
        wanted = oa.recordable_lines(offer, capabilities)
        for index in wanted:
            if index not in call.lines and index not in call.spare_sockets:
                call.spare_sockets[index] = self._builder.sockets.leg()
        ports = {i: socket.port for i, socket in _sockets(call).items() if i in wanted}
        answer = oa.answer(offer, capabilities, host, ports, call.sdp_session, call.sdp_version)
        call.local_sdp = answer.sdp
        self._record(call, answer.lines)
        return answer.body

    def _record(self, call: RecordedCall, accepted: tuple[oa.AcceptedLine, ...]) -> None:
        """Tracks and sockets as the answer says; a line that is gone gives its ports back."""
        for line in accepted:
            payloads = {pt: (p.name, p.rate) for pt, p in line.payloads.items()}
            known = call.lines.get(line.index)
            if known is None:
                socket = call.spare_sockets.pop(line.index)
                handle = line.index + 1
                track = call.audio.add_track(handle, payloads)
                call.lines[line.index] = Line(line, socket, handle, track)
            else:
                known.accepted = line
                call.audio.update_track(known.handle, payloads)
            now_line = call.lines[line.index]
            held = GapCause.ON_HOLD if line.on_hold else None
            call.audio.expect_silence(now_line.handle, held)
            track = now_line.track
            try:
                now_line.socket.listen(track.receive, track.receive_rtcp, line)
            except ValueError as error:
                raise OfferRejected(
                    f"m-line {line.index}, {line.remote_host!r}: {error}"
                ) from error
        for index in call.lines.keys() - {line.index for line in accepted}:
            gone = call.lines.pop(index)
            gone.socket.close()
            call.audio.remove_track(gone.handle)

    def _confirmed(self, dialog_id: DialogId, body: bytes, now: float) -> None:
        call = self._calls.by_dialog(dialog_id)
        if call is None:
            return
        if body and call.local_sdp is not None and not call.lines:
            try:
                self._record(call, oa.accepted_lines(call.local_sdp, parse_sdp(body)))
            except PeerError as error:
                log.warning("unusable answer", call_id=call.identity.call_id, error=str(error))
                self._side.bye(dialog_id, "unusable answer")
                self._gone(dialog_id, "unusable answer", now)
                return
            self._attribute(call)
        with structlog.contextvars.bound_contextvars(call_id=call.identity.call_id):
            call.confirm(now)

    # --- who is who -------------------------------------------------------------------------

    def _read_metadata(self, data: bytes | None) -> RecordingMetadata | None:
        if data is None:
            return None
        try:
            return parse_metadata(data)
        except MetadataError as error:
            # The call is recorded all the same; the roles stay unknown.
            self._builder.metrics.metadata_errors.inc()
            log.warning("unreadable recording metadata", error=str(error))
            return None

    def _attribute(self, call: RecordedCall) -> None:
        """Who speaks on which line: metadata, our extension, else the order in the SDP."""
        ordered = sorted(call.lines.values(), key=lambda line: line.accepted.index)
        labels = [line.accepted.label for line in ordered]
        found = attribute_legs(call.metadata, labels, LegHints(direction=call.identity.direction))
        call.legs = tuple(
            Leg(line.handle, KINDS[who.kind], who.label, who.aor, who.name, who.warnings)
            for line, who in zip(ordered, found, strict=True)
        )
        for leg in call.legs:
            call.warnings.extend(leg.warnings)

    # --- the end ----------------------------------------------------------------------------

    def _refuse(self, dialog_id: DialogId, status: int, text: str, *, retry: bool = False) -> None:
        self._builder.metrics.refused.labels(status=str(status)).inc()
        log.warning("offer refused", status=status, why=text)
        self._side.reject(dialog_id, status, "", RETRY_AFTER if retry else ())

    def _gone(self, dialog_id: DialogId, reason: str, now: float) -> None:
        call = self._calls.by_dialog(dialog_id)
        if call is None:
            return
        call.end(reason, now)
        self._calls.remove(call)
        log.info("call ended", call_id=call.identity.call_id, reason=reason)

    def end_silent_calls(self, silence_seconds: float, now: float) -> None:
        """RTP silence ends what nothing else ends: an SRC that died sends no BYE."""
        for call in self._calls.live():
            last = call.audio.heard_at()
            if now - max(last or 0.0, call.begun) > silence_seconds:
                self._side.bye(call.dialog_id, "RTP silence")
                self._gone(call.dialog_id, "rtp silence", now)


def _sockets(call: RecordedCall) -> dict[int, LegSocket]:
    return {
        **{i: line.socket for i, line in call.lines.items()},
        **call.spare_sockets,
    }


def _ports(call: RecordedCall) -> dict[int, int]:
    return {i: socket.port for i, socket in _sockets(call).items()}
