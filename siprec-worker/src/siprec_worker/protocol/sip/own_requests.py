"""The requests that we send within a dialog, one INVITE or UPDATE at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from siprec_worker.protocol.sip.actions import Acknowledge, Action, Ask
from siprec_worker.protocol.sip.events import DialogState, UasEvent
from siprec_worker.protocol.sip.in_dialog import in_dialog_request, refreshed_target
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.session_timer import SessionClock, answered_timer, lengthened
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.snapshot_request import snapshot_request


class Asking(Enum):
    """Why an INVITE or UPDATE of ours is out."""

    RESCUE = "rescue"
    REINVITE = "reinvite"
    REFRESH = "refresh"
    METADATA = "metadata"


@dataclass(slots=True)
class DialogRecord:
    """What a dialog is, and what it wants done and told."""

    state: DialogState
    actions: list[Action] = field(default_factory=list)
    events: list[UasEvent] = field(default_factory=list)


class OwnRequests:
    """Writes them with the dialog's next CSeq, and acknowledges what answers our INVITEs."""

    def __init__(
        self,
        record: DialogRecord,
        settings: UasSettings,
        new_token: Callable[[], str],
        clock: SessionClock,
    ) -> None:
        self.asking: Asking | None = None
        self._asked = 0  # its CSeq
        self._record = record
        self._settings = settings
        self._new_token = new_token
        self._clock = clock
        self._last_ack: Request | None = None

    def ask(
        self,
        why: Asking,
        method: str,
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """An UPDATE, or an INVITE with an offer of ours, new unless it asks for metadata."""
        self.asking = why
        if method == "INVITE" and why is not Asking.METADATA:
            text = body.decode("utf-8", "surrogateescape")
            self._record.state = replace(self._record.state, local_sdp=text)
        timer = self._clock.timer
        told = (*headers, *(timer.request_headers if timer else ()))
        request = self._request(method, body, told)
        self._asked = request.cseq.number
        self._record.actions.append(Ask(request))

    def awaits(self, request: Request) -> bool:
        """Its answer is still wanted: it is no BYE, and not of an adoption that was given up."""
        return self.asking is not None and request.cseq.number == self._asked

    @property
    def _last_offer(self) -> str:
        return self._record.state.local_sdp

    def ask_for_metadata(self, reason: str) -> None:
        """For a snapshot (RFC 7866 section 9.2); it comes as an UPDATE or re-INVITE."""
        updates = self._record.state.takes_update
        body, headers = snapshot_request(reason, "" if updates else self._last_offer)
        self.ask(Asking.METADATA, "UPDATE" if updates else "INVITE", body, headers)

    def refresh(self) -> None:
        """Half of the session's time is over and it is our task (RFC 4028 section 7.4)."""
        if self._record.state.takes_update:
            self.ask(Asking.REFRESH, "UPDATE")
        else:
            self.ask(Asking.REFRESH, "INVITE", self._last_offer.encode("utf-8", "surrogateescape"))

    def bye(self, reason: str = "") -> None:
        told = (("Reason", f'SIP;cause=200;text="{reason}"'),) if reason else ()
        self._record.actions.append(Ask(self._request("BYE", headers=told)))

    def _request(
        self, method: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> Request:
        number = self._record.state.local_cseq + 1
        self._record.state = replace(self._record.state, local_cseq=number)
        return in_dialog_request(
            self._record.state, self._settings, method, number, self._new_token(), body, headers
        )

    def answered(self, request: Request, response: Response | None, now: float) -> Asking | None:
        """Why the request was sent, which is awaited. Acknowledges a 2xx to an INVITE."""
        if response is not None and response.status < 300:
            state = self._record.state
            target = refreshed_target(response.headers, state.remote_target)
            self._record.state = replace(state, remote_target=target)
            if request.method == "INVITE":
                self._acknowledge(request.cseq.number)
        if response is not None:
            self._learn(request, response, now)
        why, self.asking = self.asking, None
        return why

    def answered_in_vain(self, request: Request, response: Response | None) -> None:
        """A 200 to an INVITE is acknowledged even where nobody awaits it, as the dialog is or was
        another's: its sender would repeat it, and then end the dialog (section 13.3.1.4).
        """
        if request.method == "INVITE" and response is not None and response.status // 100 == 2:
            self._acknowledge(request.cseq.number)

    def _learn(self, request: Request, response: Response, now: float) -> None:
        """What an answer says of the session's time, and of what the peer understands."""
        timer = self._clock.timer
        if response.status < 300:  # each INVITE and UPDATE that is answered refreshes the session
            self._clock.restart(answered_timer(timer, response.headers), now)
        elif response.status == 422:
            self._clock.timer = lengthened(timer, response.headers)
        elif request.method == "UPDATE" and response.status in (405, 501):
            self._record.state = replace(self._record.state, takes_update=False)

    def _acknowledge(self, number: int) -> None:
        self._last_ack = in_dialog_request(
            self._record.state, self._settings, "ACK", number, self._new_token()
        )
        self._record.actions.append(Acknowledge(self._last_ack))

    def acknowledge_again(self, response: Response) -> None:
        """A retransmitted 2xx to a re-INVITE of ours (section 13.2.2.4)."""
        if self._last_ack is not None and self._last_ack.cseq.number == response.cseq.number:
            self._record.actions.append(Acknowledge(self._last_ack))
