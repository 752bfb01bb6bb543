"""How a call comes in, changes and ends: the SIP side's events turned into recorded calls."""

from __future__ import annotations

import structlog

from siprec_worker.errors import (
    NoPorts,
    OfferRejected,
    PeerError,
    SdpError,
)
from siprec_worker.protocol.sip import events as sip
from siprec_worker.protocol.sip.events import DialogId
from siprec_worker.session import events as ev
from siprec_worker.session.adoption import Adoption
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.negotiation import Negotiation
from siprec_worker.session.parties import ReadMetadata, apply_metadata, attribute, read_metadata
from siprec_worker.session.ports import SipSide
from siprec_worker.session.registry import Calls

log = structlog.get_logger(__name__)

RETRY_AFTER = (("Retry-After", "5"),)
GONE_SECONDS = 3.0  # without RTP, after the PBX has said that the caller is gone


class Intake:
    """Takes the answering side's events, one after the other; owns no task and no timer."""

    def __init__(self, side: SipSide, calls: Calls, builder: CallBuilder) -> None:
        self._side = side
        self._calls = calls
        self._builder = builder
        self._negotiation = Negotiation(builder.sockets, builder.capabilities, builder.host)
        self.adoption = Adoption(side, calls, builder, self._negotiation)

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
                kind = "bye" if by_peer else "ended here"
                self._gone(dialog_id, reason or kind, now, kind)
            case sip.NotRecorded(dialog_id, reason):
                self._builder.metrics.not_recorded.inc()
                log.error("not recorded", reason=reason)
                self._gone(dialog_id, f"not recorded: {reason}", now, "not recorded")
            case sip.ReinviteAnswered():
                self.adoption.answered(event, now)
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
        read = self._read_metadata(event.content.metadata)
        call = self._builder.build(event.dialog_id, event.request, read.best, now)
        apply_metadata(call, read)
        try:
            sdp = self._negotiation.answer(call, event.content.sdp)
        except BaseException:
            call.end("refused", now)
            raise
        attribute(call)
        self._calls.add(call)
        if not self._side.accept(event.dialog_id, sdp):
            self._gone(event.dialog_id, "cancelled", now)
            return
        log.info("call answered", call_id=call.identity.call_id, lines=len(call.lines))
        for warning in (*call.identity.warnings, *call.warnings):
            log.warning("call", call_id=call.identity.call_id, warning=warning)

    def _changed(self, call: RecordedCall, event: sip.Invited, now: float) -> None:
        """A re-INVITE or UPDATE: new metadata, a new offer, or both."""
        apply_metadata(call, self._read_metadata(event.content.metadata))
        try:
            answer = b""
            if event.content.sdp is not None or event.request.method == "INVITE":
                answer = self._negotiation.answer(call, event.content.sdp)
            self._side.accept(event.dialog_id, answer)
        finally:  # the metadata count even where the offer does not
            self._attribute_again(call, now)

    @staticmethod
    def _attribute_again(call: RecordedCall, now: float) -> None:
        call.around.keep(call)  # also for the dialog's numbers
        if call.arrived and call.metadata is None and call.recovered_metadata is None:
            return  # of another worker's legs only their names are known here
        if attribute(call) and call.confirmed:
            call.feed(ev.LegsChanged(call.legs), now)

    def _confirmed(self, dialog_id: DialogId, body: bytes, now: float) -> None:
        call = self._calls.by_dialog(dialog_id)
        if call is None:
            return
        if body and call.offering:
            begun = bool(call.lines)
            try:
                self._negotiation.take_answer(call, body)
            except PeerError as error:
                log.warning("unusable answer", call_id=call.identity.call_id, error=str(error))
                if not begun:
                    self._side.bye(dialog_id, "unusable answer")
                    self._gone(dialog_id, "unusable answer", now)
                    return
            self._attribute_again(call, now)
        if not call.confirmed:
            self._builder.metrics.calls_started.inc()
        with structlog.contextvars.bound_contextvars(call_id=call.identity.call_id):
            call.confirm(now)

    def _read_metadata(self, data: bytes | None) -> ReadMetadata:
        read = read_metadata(data)
        if read.fault:
            # The call is recorded all the same.
            self._builder.metrics.metadata_errors.inc()
            log.warning("unreadable recording metadata", error=read.fault)
        return read

    # --- the end ----------------------------------------------------------------------------

    def _refuse(self, dialog_id: DialogId, status: int, text: str, *, retry: bool = False) -> None:
        self._builder.metrics.refused.labels(status=str(status)).inc()
        log.warning("offer refused", status=status, why=text)
        self._side.reject(dialog_id, status, "", RETRY_AFTER if retry else ())

    def _gone(self, dialog_id: DialogId, reason: str, now: float, kind: str = "") -> None:
        """`kind`: the reason as a metric may show it; what a peer wrote is endless."""
        call = self._calls.by_dialog(dialog_id)
        if call is None:
            return
        if call.confirmed:
            self._builder.metrics.calls_ended.labels(reason=kind or reason).inc()
        try:
            call.end(reason, now)
        finally:
            self._calls.remove(call)
        log.info("call ended", call_id=call.identity.call_id, reason=reason)

    def end_silent_calls(self, silence_seconds: float, now: float) -> None:
        """RTP silence ends what nothing else ends: an SRC that died sends no BYE.

        Soon, where the PBX has told that the caller is gone: the BYE then went to a dead worker.
        """
        for call in self._calls.live():
            last = call.audio.heard_at()
            limit = min(GONE_SECONDS, silence_seconds) if call.caller_gone else silence_seconds
            if now - max(last or 0.0, call.begun, call.arrived) > limit:
                self._side.bye(call.dialog_id, "RTP silence")
                self._gone(call.dialog_id, "rtp silence", now)
