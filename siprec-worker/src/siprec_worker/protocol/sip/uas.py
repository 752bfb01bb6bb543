"""A whole answering SIP endpoint without sockets: bytes and time in, bytes and events out.

receive() -> transactions (retransmissions) -> screening (4xx) -> dialogs -> events()
accept() reject() bye() reinvite() -> dialogs -> transactions -> messages_to_send()
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from siprec_worker.errors import MultipartError, SipError
from siprec_worker.protocol.sip.actions import Acknowledge, Action, Answer, Ask, Resend
from siprec_worker.protocol.sip.dialog import Dialog
from siprec_worker.protocol.sip.dialogs import Dialogs, Entry
from siprec_worker.protocol.sip.events import (
    DialogId,
    DialogState,
    Strayed,
    UasEvent,
)
from siprec_worker.protocol.sip.flow import Flow, Outgoing, Target
from siprec_worker.protocol.sip.gate import Gate
from siprec_worker.protocol.sip.in_dialog import new_dialog_state, next_hop
from siprec_worker.protocol.sip.message import BadMessage, OversizeMessage, Request, Response
from siprec_worker.protocol.sip.parsing import parse_message
from siprec_worker.protocol.sip.screening import check_readable, options_answer, refusal
from siprec_worker.protocol.sip.session_timer import MIN_SECONDS, too_brief
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.strays import Strays
from siprec_worker.protocol.sip.transaction import TransactionKey, response_target, server_key
from siprec_worker.protocol.sip.transactions import Transactions

log = logging.getLogger(__name__)

_CSEQ_JUMP = 100  # an adopted dialog's first owner may have sent requests after it was stored


def _new_token() -> str:
    return secrets.token_hex(8)


class Uas:
    """Answers calls. Not thread-safe; commands on a dialog that is gone return False."""

    def __init__(self, settings: UasSettings, new_token: Callable[[], str] = _new_token) -> None:
        self.settings = settings
        self.available = True
        self.refused: Counter[int] = Counter()  # requests that no event told of, by status
        self.passes_on = False  # is somebody there who knows whose dialogs are whose?
        self.unreadable = 0  # messages that were no SIP, or could not be answered
        self.gate = Gate(settings.networks, settings.realm, new_token)
        self._new_token = new_token
        self._dialogs = Dialogs()
        self._transactions = Transactions(settings.max_transactions)
        self._strays = Strays(new_token)
        self._outbox: list[Outgoing] = []
        self._events: list[UasEvent] = []

    # --- input -------------------------------------------------------------------------------

    def receive(self, data: bytes | Request | Response, flow: Flow, now: float) -> None:
        """One message, as it came from `flow`. Never raises on what a peer sends."""
        try:
            message = parse_message(data) if isinstance(data, bytes) else data
            if isinstance(message, Request):
                self._receive_request(message, flow, now)
            else:
                self._receive_response(message, now)
        except (BadMessage, OversizeMessage) as error:
            self._refuse_unreadable(error, flow)
        except SipError as error:
            self.unreadable += 1
            log.debug("dropped from %s:%d: %s", flow.host, flow.port, error)

    def _refuse_unreadable(self, error: BadMessage | OversizeMessage, flow: Flow) -> None:
        """Answers without state: the next copy would be refused just the same."""
        self.unreadable += 1
        request = error.request
        log.debug("refused from %s:%d: %s", flow.host, flow.port, error)
        if request is None or request.method == "ACK" or "via" not in request.headers:
            return
        response = request.reply(error.sip_status, error.reason, to_tag=self._new_token())
        self._outbox.append(Outgoing(response.encode(), response_target(request, flow), flow))

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        check_readable(request)
        request = request.arrived_from(flow.host, flow.port)
        key = server_key(request)
        if self._transactions.absorbs(key, request, now):
            return
        if request.method == "ACK":
            if self.gate.lets_in(flow):
                self._receive_ack(request, now)
            return
        if not self._transactions.begin(key, request, flow):
            return  # flooded: silence sends the peer elsewhere
        response = self._refusal(request, key, flow, now)
        if response is None:
            self._serve(request, key, flow, now)
        else:
            self.refused[response.status] += 1
            self._respond(key, response, now)

    def _refusal(
        self, request: Request, key: TransactionKey, flow: Flow, now: float
    ) -> Response | None:
        if not self.gate.lets_in(flow):
            return request.reply(403)
        if request.method == "CANCEL":
            return None
        if (asked := self.gate.challenge(request, now)) is not None:
            return asked
        begins = request.method == "INVITE" and not request.to_tag
        if begins and self._dialogs.merged(request, key):
            return request.reply(482)
        return refusal(request)

    def _serve(self, request: Request, key: TransactionKey, flow: Flow, now: float) -> None:
        match request.method:
            case "CANCEL":
                self._receive_cancel(request, key, now)
            case "OPTIONS" if not request.to_tag:
                answer = options_answer(request, self.available, self.settings.retry_after)
                self._respond(key, answer, now)
            case "INVITE" if not request.to_tag:
                self._receive_invite(request, key, flow, now)
            case _:
                self._receive_in_dialog(request, key, flow, now)

    def _receive_cancel(self, request: Request, key: TransactionKey, now: float) -> None:
        """Section 9.2: matched by the INVITE's transaction, whatever became of it."""
        invite_key = server_key(request, "INVITE")
        if not self._transactions.knows(invite_key):
            self._respond(key, request.reply(481), now)
            return
        self._respond(key, request.reply(200), now)
        for entry in self._dialogs.owing(invite_key):
            entry.dialog.cancelled(invite_key)
            self._pump(entry, now)

    def _receive_invite(self, invite: Request, key: TransactionKey, flow: Flow, now: float) -> None:
        if not self.available or self.dialog_count >= self.settings.max_dialogs:
            self.refused[503] += 1
            retry = [("Retry-After", str(self.settings.retry_after))]
            self._respond(key, invite.reply(503, headers=retry), now)
            return
        if too_brief(invite.headers):
            headers = [("Min-SE", str(MIN_SECONDS))]
            self._respond(key, invite.reply(422, headers=headers), now)
            return
        try:
            state = new_dialog_state(invite, self._new_token(), flow)
            dialog = Dialog(state, self.settings, self._new_token)
            dialog.begin(invite, key, now)
        except (SipError, MultipartError) as error:
            log.debug("INVITE refused: %s", error)
            self._respond(key, invite.reply(400), now)
            return
        self._pump(self._dialogs.begin(dialog, invite, key, flow), now)

    def _receive_in_dialog(
        self, request: Request, key: TransactionKey, flow: Flow, now: float
    ) -> None:
        entry = self._dialogs.asked_in(request)
        if self.passes_on and (entry is None or entry.dialog.leaves_to_owner(request.method)):
            self._events.append(Strayed(request, key))
            return
        if entry is None:
            self._respond(key, request.reply(481), now)
            return
        entry.flow = flow
        entry.dialog.receive(request, key, now)
        self._pump(entry, now)

    def _receive_ack(self, ack: Request, now: float) -> None:
        if (entry := self._dialogs.asked_in(ack)) is not None:
            entry.dialog.acknowledged(ack)
            self._pump(entry, now)

    def _receive_response(self, response: Response, now: float) -> None:
        if self._strays.awaits(response):
            if (sent := self._transactions.receive_response(response, now)) is not None:
                self._stray_answered(sent, response, now)
            return
        if len(response.headers.values("via")) != 1:  # section 8.1.3.3: not for us
            raise SipError("a response with several Vias")
        answered = self._transactions.receive_response(response, now)
        entry = self._dialogs.answered_in(response)
        if entry is None:
            return
        if answered is not None:
            entry.dialog.answered(answered, response, now)
        elif response.status // 100 == 2 and response.cseq.method == "INVITE":
            entry.dialog.acknowledge_again(response)
        self._pump(entry, now)

    # --- commands ----------------------------------------------------------------------------

    def accept(
        self, of: DialogId, sdp: bytes, now: float, headers: Iterable[tuple[str, str]] = ()
    ) -> bool:
        """Answers what Invited told of with 200 and `sdp` (b"" to an UPDATE without offer).

        To an initial INVITE it leaves no earlier than min_answer_delay after that came. False:
        nothing waits for an answer any more (cancelled, hung up), which is no error.
        """
        return self._command(of, now, lambda dialog: dialog.accept(sdp, now, headers))

    def reject(
        self,
        of: DialogId,
        status: int,
        reason: str,
        now: float,
        headers: Iterable[tuple[str, str]] = (),
    ) -> bool:
        """Refuses what Invited told of; refusing the initial INVITE ends the dialog."""
        return self._command(of, now, lambda dialog: dialog.reject(status, reason, headers))

    def bye(self, of: DialogId, now: float, reason: str = "") -> bool:
        return self._command(of, now, lambda dialog: dialog.bye(reason))

    def reinvite(self, of: DialogId, offer: bytes, now: float) -> bool:
        """Sends an offer of ours; ReinviteAnswered follows. False while another is under way."""
        return self._command(of, now, lambda dialog: dialog.reinvite(offer))

    def request_metadata(self, of: DialogId, reason: str, now: float) -> bool:
        """Asks the SRC for all its metadata; they come in an UPDATE or re-INVITE of its own.

        False where something is under way.
        """
        return self._command(of, now, lambda dialog: dialog.request_metadata(reason))

    def _command(self, of: DialogId, now: float, command: Callable[[Dialog], bool]) -> bool:
        entry = self._dialogs.get(of)
        if entry is None:
            return False
        done = command(entry.dialog)
        self._pump(entry, now)
        return done

    def answer_stray(self, stray: Strayed, status: int, now: float) -> None:
        self._respond(stray.key, stray.request.reply(status), now)

    def pass_on(self, stray: Strayed, uri: str, now: float) -> None:
        """Asks the dialog's owner at `uri`; the peer gets its answer."""
        try:
            request, target = self._strays.pass_on(stray, uri, self.settings)
        except SipError as error:
            self.answer_stray(stray, error.sip_status, now)
            return
        self._transactions.ask(request, target, None, now)
        if (
            stray.request.method == "BYE"
            and (entry := self._dialogs.asked_in(stray.request)) is not None
        ):
            entry.dialog.bye("")  # one that was handed over; nothing is sent
            self._pump(entry, now)

    def _stray_answered(self, sent: Request, response: Response | None, now: float) -> None:
        if (stray := self._strays.answered(sent)) is None:
            return
        answer = stray.request.reply(408)
        if response is not None:
            answer = stray.request.reply(response.status, response.reason, body=response.body)
        self._respond(stray.key, answer, now)

    def dialog_state(self, of: DialogId) -> DialogState | None:
        """What to store, so that another worker can adopt the dialog."""
        entry = self._dialogs.get(of)
        return entry.dialog.state if entry else None

    def adopt(self, state: DialogState, now: float) -> DialogId:
        """Takes over another worker's dialog; reinvite() then makes the media come here."""
        stored = replace(state, local_cseq=state.local_cseq + _CSEQ_JUMP)
        dialog = Dialog(stored, self.settings, self._new_token)
        self._pump(self._dialogs.adopt(dialog), now)
        return state.id

    def hand_over(self, of: DialogId, now: float) -> bool:
        """Another worker has adopted the dialog: from now on re-INVITE gets 488, BYE its 200 (and
        HungUp is told, for the new owner); nothing is sent any more.
        """
        return self._command(of, now, lambda dialog: dialog.hand_over(now))

    def outrun(self, of: DialogId, now: float) -> bool:
        """Another worker adopted the dialog in vain: it may have sent requests, whose numbers ours
        must exceed (section 12.2.1.1), and those of the next to adopt it.
        """
        return self._command(of, now, lambda dialog: dialog.skip(2 * _CSEQ_JUMP))

    # --- output and time ---------------------------------------------------------------------

    def _respond(self, key: TransactionKey, response: Response, now: float) -> None:
        self._transactions.respond(key, response.tagged(self._new_token()), now)

    def _pump(self, entry: Entry, now: float) -> None:
        for action in entry.dialog.actions():
            self._perform(action, entry, now)
        self._events += entry.dialog.events()
        self._dialogs.settle(entry)

    def _perform(self, action: Action, entry: Entry, now: float) -> None:
        match action:
            case Answer(key, response):
                self._respond(key, response, now)
            case Resend(key):
                self._transactions.resend(key)
            case Ask(request):
                target = next_hop(entry.dialog.state)
                self._transactions.ask(request, target, _same_way(entry.flow, target), now)
            case Acknowledge(request):
                target = next_hop(entry.dialog.state)
                flow = _same_way(entry.flow, target)
                self._outbox.append(Outgoing(request.encode(), target, flow))

    def messages_to_send(self) -> list[Outgoing]:
        outbox, self._outbox = self._outbox, []
        return outbox + self._transactions.messages_to_send()

    def events(self) -> list[UasEvent]:
        events, self._events = self._events, []
        return events

    @property
    def dialog_count(self) -> int:
        """Dialogs of our own, without those handed over."""
        return len(self.dialog_ids)

    @property
    def dialog_ids(self) -> tuple[DialogId, ...]:
        return self._dialogs.own_ids

    def next_timeout(self) -> float | None:
        times = (self._dialogs.next_timeout(), self._transactions.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        for request in self._transactions.handle_timeout(now):
            self._stray_answered(request, None, now)
            if (entry := self._dialogs.answered_in(request)) is not None:
                entry.dialog.answered(request, None, now)
                self._pump(entry, now)
        for entry in self._dialogs.due(now):
            entry.dialog.handle_timeout(now)
            self._pump(entry, now)


def _same_way(flow: Flow | None, target: Target) -> Flow | None:
    """A connection of the peer is used again only where the next hop is reached alike."""
    return flow if flow is not None and flow.transport == target.transport else None
