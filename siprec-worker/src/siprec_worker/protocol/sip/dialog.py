"""One SIPREC dialog on the answering side (RFC 3261 sections 12-15, RFC 3311, RFC 4028).

Two facts rather than one big state: is a request still owed an answer (`_open`), is an answer
still owed an ACK (`_confirmation`)? A cancelled re-INVITE then needs no state of its own.

    INVITE -> _open -accept-> [held for min_answer_delay] -> 200 -> pending -ACK-> Confirmed
                                                     no ACK: our re-INVITE -200-> Confirmed
                                                                           -else-> NotRecorded
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from siprec_worker.errors import MultipartError
from siprec_worker.protocol.multipart import recording_body
from siprec_worker.protocol.sip.actions import Action, Answer
from siprec_worker.protocol.sip.confirmation import Confirmation
from siprec_worker.protocol.sip.events import (
    Cancelled,
    DialogState,
    HungUp,
    Informed,
    Invited,
    MetadataRequestAnswered,
    ReinviteAnswered,
    UasEvent,
)
from siprec_worker.protocol.sip.in_dialog import description_in, refreshed_target
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.open_request import OpenRequest
from siprec_worker.protocol.sip.own_requests import Asking, DialogRecord, OwnRequests
from siprec_worker.protocol.sip.screening import options_answer
from siprec_worker.protocol.sip.session_timer import MIN_SECONDS, SessionClock, too_brief
from siprec_worker.protocol.sip.settings import ALLOW, UasSettings
from siprec_worker.protocol.sip.transaction import TransactionKey

_HANDED_OVER_SECONDS = 4 * 3600.0  # longer than a call; then it is forgotten


class Dialog:
    """Feed it the requests of one dialog; collect actions, events and the time it wants to wake."""

    def __init__(
        self, state: DialogState, settings: UasSettings, new_token: Callable[[], str]
    ) -> None:
        self.ended = False
        self.handed_over = False
        self._record = DialogRecord(state)
        self._settings = settings
        self._open: OpenRequest | None = None
        self._clock = SessionClock()
        self._own = OwnRequests(self._record, settings, new_token, self._clock)
        self._confirmation = Confirmation(self._record, self._own, settings)

    @property
    def state(self) -> DialogState:
        return self._record.state

    def _note(self, **changed: object) -> None:
        self._record.state = replace(self._record.state, **changed)  # type: ignore[arg-type]

    # --- what the peer asks ------------------------------------------------------------------

    def begin(self, invite: Request, key: TransactionKey, now: float) -> None:
        """The INVITE that makes the dialog. Raises MultipartError."""
        self._offer(invite, key, now, initial=True)

    def receive(self, request: Request, key: TransactionKey, now: float) -> None:
        """Any request within the dialog but ACK and CANCEL."""
        if request.method == "OPTIONS":  # asks after the session, whatever its CSeq
            self._record.actions.append(Answer(key, options_answer(request, True, 0)))
            return
        if request.cseq.number <= self.state.remote_cseq:  # section 12.2.2
            self._refuse(request, key, 500)
            return
        self._note(remote_cseq=request.cseq.number)
        match request.method:
            case "INVITE" | "UPDATE" if self.handed_over:
                self._refuse(request, key, 488)
            # Sections 14.2 and RFC 3311 5.2: an earlier one is unanswered, or our own is out.
            case "INVITE" | "UPDATE" if self._open is not None:
                self._refuse(request, key, 500, ("Retry-After", "1"))
            case "INVITE" | "UPDATE" if self._own.asking is not None:
                self._refuse(request, key, 491)
            case "INVITE" if self._confirmation.pending:
                self._refuse(request, key, 491)
            case "INVITE" | "UPDATE" if too_brief(request.headers):
                self._refuse(request, key, 422, ("Min-SE", str(MIN_SECONDS)))
            case "INVITE" | "UPDATE":
                self._offer_in_dialog(request, key, now)
            case "BYE":
                self._hung_up(request, key)
            case "INFO":
                self._record.actions.append(Answer(key, request.reply(200)))
                self._record.events.append(Informed(self.state.id, request))
            case _:
                self._refuse(request, key, 405, ("Allow", ALLOW))

    def _refuse(
        self, request: Request, key: TransactionKey, status: int, *headers: tuple[str, str]
    ) -> None:
        self._record.actions.append(Answer(key, request.reply(status, headers=headers)))

    def _offer_in_dialog(self, request: Request, key: TransactionKey, now: float) -> None:
        target = refreshed_target(request.headers, self.state.remote_target)
        self._note(remote_target=target)
        try:
            self._offer(request, key, now, initial=False)
        except MultipartError:
            self._refuse(request, key, 400)

    def _offer(self, request: Request, key: TransactionKey, now: float, initial: bool) -> None:
        content = recording_body(request.content_type, request.body)
        answerable_at = now + (self._settings.min_answer_delay if initial else 0.0)
        refused_at = now + self._settings.answer_limit
        self._open = OpenRequest(request, key, initial, answerable_at, refused_at)
        if request.method == "UPDATE" and content.sdp is None and content.metadata is None:
            self._answer(b"", (), now)  # a session refresh asks nobody
            return
        self._record.events.append(Invited(self.state.id, request, not initial, content))

    def _hung_up(self, bye: Request, key: TransactionKey) -> None:
        self._record.actions.append(Answer(key, bye.reply(200)))
        self._refuse_open(487)  # section 15.1.2
        told = bye.headers.get("reason") or "BYE"
        self._end(HungUp(self.state.id, True, told.encode(errors="replace").decode()))

    def acknowledged(self, ack: Request) -> None:
        """An ACK to a 2xx of ours."""
        self._confirmation.acknowledged(ack)

    def owes(self, key: TransactionKey) -> bool:
        """Is the request of this transaction still unanswered?"""
        return self._open is not None and self._open.key == key

    def cancelled(self, key: TransactionKey) -> None:
        """A CANCEL of the INVITE with this key: too late once it was answered (section 9.2)."""
        if self._open is None or not self.owes(key):
            return
        initial = self._open.initial
        self._refuse_open(487)
        self._record.events.append(Cancelled(self.state.id, reinvite=not initial))
        self.ended = self.ended or initial

    def _refuse_open(
        self, status: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        if (owed := self._open) is not None:
            response = owed.refusal(status, reason, headers, self.state.local_tag)
            self._record.actions.append(Answer(owed.key, response))
            self._open = None

    # --- what the session wants --------------------------------------------------------------

    def accept(self, sdp: bytes, now: float, headers: Iterable[tuple[str, str]]) -> bool:
        if self._open is None or self._open.held is not None:
            return False
        if now < self._open.answerable_at:
            self._open.held = (sdp, tuple(headers))
        else:
            self._answer(sdp, tuple(headers), now)
        return True

    def reject(
        self, status: int, reason: str, headers: Iterable[tuple[str, str]]
    ) -> bool:  # fmt: skip
        if self._open is None or self._open.held is not None:
            return False
        self.ended = self._open.initial
        self._refuse_open(status, reason, headers)
        return True

    def bye(self, reason: str) -> bool:
        """Ends the dialog without an event: the session knows. An open INVITE gets 480."""
        if self.ended:
            return False
        if self.handed_over:
            pass  # the call is another's: a BYE of ours would end it there
        elif self._open is not None and self._open.initial:
            self._refuse_open(480)
        else:
            self._refuse_open(487)
            self._own.bye(reason)
        self.ended = True
        return True

    def leaves_to_owner(self, method: str) -> bool:
        """A request that has to reach whoever has the dialog by now. A re-INVITE need not: a 488
        changes nothing.
        """
        return self.handed_over and method not in ("INVITE", "UPDATE")

    def hand_over(self, now: float) -> bool:
        """Another worker has the dialog now, but the peer may still send requests here.

        OpenSIPS keeps to the first Contact. A 200 to its re-INVITE would pull the media back and
        a 481 would end the recording; a 488 changes nothing.
        """
        self._refuse_open(488)
        self._confirmation.drop()
        self._own.asking = None
        self.handed_over = True
        self._clock.end_after(_HANDED_OVER_SECONDS, now)
        return True

    def skip(self, numbers: int) -> bool:
        """Leaves out CSeq numbers that another may have used."""
        self._note(local_cseq=self.state.local_cseq + numbers)
        return True

    @property
    def _busy(self) -> bool:
        """An INVITE or UPDATE of ours would now be in something's way, or in vain."""
        owing = self._open is not None or self._confirmation.pending
        return self.ended or self.handed_over or owing or self._own.asking is not None

    def reinvite(self, offer: bytes) -> bool:
        if self._busy:
            return False
        self._own.ask(Asking.REINVITE, "INVITE", offer)
        return True

    def request_metadata(self, reason: str) -> bool:
        if self._busy:
            return False
        self._own.ask_for_metadata(reason)
        return True

    def _answer(self, sdp: bytes, headers: tuple[tuple[str, str], ...], now: float) -> None:
        owed = self._open
        if owed is None:
            return
        self._open = None
        self._clock.restart(owed.session_timer, now)
        response = owed.ok(sdp, headers, self.state, self._settings)
        self._record.actions.append(Answer(owed.key, response))
        if sdp:
            self._note(local_sdp=sdp.decode("utf-8", "surrogateescape"))
        if owed.request.method == "INVITE":
            self._confirmation.expect(owed.key, owed.request.cseq.number, owed.initial, now)

    def _end(self, event: UasEvent) -> None:
        self._record.events.append(event)
        self.ended, self._own.asking = True, None
        self._confirmation.drop()

    # --- answers to our requests -------------------------------------------------------------

    def answered(self, request: Request, response: Response | None, now: float) -> None:
        """The final answer to a request of ours; None = it timed out."""
        if not self._own.awaits(request):
            self._own.answered_in_vain(request, response)
            return
        why = self._own.answered(request, response, now)
        if self.ended or why is None:
            return
        status = response.status if response else 408
        body = description_in(response) if response else b""
        match why:
            case Asking.RESCUE:
                if (failed := self._confirmation.answered(status, body, now)) is not None:
                    self._end(failed)
                return
            case Asking.REINVITE:
                self._record.events.append(ReinviteAnswered(self.state.id, status, body))
            case Asking.METADATA:
                self._record.events.append(MetadataRequestAnswered(self.state.id, status))
        if status == 481:  # section 12.2.1.2
            self._end(HungUp(self.state.id, False, f"481 to our {request.method}"))

    def acknowledge_again(self, response: Response) -> None:
        self._own.acknowledge_again(response)

    # --- time --------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        if self.ended:
            return None
        times = [self._clock.next_timeout(), self._confirmation.next_timeout()]
        if self._open is not None:
            times.append(self._open.next_timeout())
        return min((t for t in times if t is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        if self.ended:
            return
        if (owed := self._open) is not None:
            if owed.held is not None and now >= owed.answerable_at:
                self._answer(*owed.held, now)
            elif owed.held is None and now >= owed.refused_at:
                self._unanswered(owed)
        if (failed := self._confirmation.handle_timeout(now)) is not None:
            self._end(failed)
        if self._clock.over(now) and not self.ended:
            if not self.handed_over:
                self._own.bye("session expired")
                self._record.events.append(HungUp(self.state.id, False, "session expired"))
            self.ended = True
        elif self._clock.wants_refresh(now) and not self._busy:
            self._own.refresh()

    def _unanswered(self, owed: OpenRequest) -> None:
        """Nobody here answered: our fault, but the peer must not wait for it."""
        self._refuse_open(480)
        if owed.initial:
            self._end(HungUp(self.state.id, False, "the INVITE was not answered here"))

    # --- what to do --------------------------------------------------------------------------

    def actions(self) -> list[Action]:
        actions, self._record.actions = self._record.actions, []
        return actions

    def events(self) -> list[UasEvent]:
        events, self._record.events = self._record.events, []
        return events
