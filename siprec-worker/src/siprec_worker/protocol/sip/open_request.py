"""A request of the peer that is still owed its final answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.protocol.sip.in_dialog import SDP_TYPE
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.session_timer import SessionTimer, agreed_timer
from siprec_worker.protocol.sip.settings import ACCEPT, ALLOW, SUPPORTED, UasSettings
from siprec_worker.protocol.sip.transaction import TransactionKey

HeaderFields = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class OpenRequest:
    """An INVITE, re-INVITE or UPDATE. `held` is an answer whose time has not come yet."""

    request: Request
    key: TransactionKey
    initial: bool
    answerable_at: float
    refused_at: float
    held: tuple[bytes, HeaderFields] | None = None

    def next_timeout(self) -> float:
        return self.refused_at if self.held is None else self.answerable_at

    @property
    def session_timer(self) -> SessionTimer | None:
        return agreed_timer(self.request.headers)

    def ok(
        self, sdp: bytes, headers: HeaderFields, state: DialogState, settings: UasSettings
    ) -> Response:
        """The 200 with our SDP; b"" where the request made no offer."""
        timer = self.session_timer
        own = [
            ("Contact", settings.contact(state.transport, secure=state.secure)),
            ("Allow", ALLOW),
            ("Accept", ACCEPT),
            ("Supported", SUPPORTED),
            ("Server", settings.server),
            *(timer.headers if timer else ()),
            *headers,
            *((SDP_TYPE,) if sdp else ()),
        ]
        return self.request.reply(200, body=sdp, headers=own, to_tag=state.local_tag)

    def refusal(
        self, status: int, reason: str, headers: Iterable[tuple[str, str]], local_tag: str
    ) -> Response:
        return self.request.reply(status, reason, headers=headers, to_tag=local_tag)
