"""The requests that we send within a dialog, one INVITE or UPDATE at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from siprec_worker.protocol.sip.actions import Acknowledge, Action, Ask
from siprec_worker.protocol.sip.events import DialogState, UasEvent
from siprec_worker.protocol.sip.in_dialog import in_dialog_request, refreshed_target
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.settings import UasSettings


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
        self, record: DialogRecord, settings: UasSettings, new_token: Callable[[], str]
    ) -> None:
        self.asking: Asking | None = None
        self._record = record
        self._settings = settings
        self._new_token = new_token
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
        self._record.actions.append(Ask(self._request(method, body, headers)))

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

    def answered(self, request: Request, response: Response | None) -> Asking | None:
        """Why the request was sent; None for a BYE. Acknowledges a 2xx to an INVITE."""
        if request.method == "BYE":
            return None
        if response is not None and response.status < 300:
            state = self._record.state
            target = refreshed_target(response.headers, state.remote_target)
            self._record.state = replace(state, remote_target=target)
            if request.method == "INVITE":
                self._acknowledge(request.cseq.number)
        why, self.asking = self.asking, None
        return why

    def _acknowledge(self, number: int) -> None:
        self._last_ack = in_dialog_request(
            self._record.state, self._settings, "ACK", number, self._new_token()
        )
        self._record.actions.append(Acknowledge(self._last_ack))

    def acknowledge_again(self, response: Response) -> None:
        """A retransmitted 2xx to a re-INVITE of ours (section 13.2.2.4)."""
        if self._last_ack is not None and self._last_ack.cseq.number == response.cseq.number:
            self._record.actions.append(Acknowledge(self._last_ack))
