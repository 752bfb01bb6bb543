"""One SIP dialog's state, and the requests it writes (RFC 3261 section 12)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from voicefork_cli.sim.message import Header, Message, new_branch


@dataclass(slots=True)
class Dialog:
    """From our side: `local` and `remote` are whole From/To values, tags included."""

    call_id: str
    local: str
    remote: str
    target: str  # the peer's Contact URI, or what was dialled until there is one
    contact: str  # our own Contact's value
    cseq: int = 0
    route: list[str] = field(default_factory=list)

    @property
    def next_hop(self) -> str:
        """The URI whose host gets the next request."""
        return self.route[0] if self.route else self.target

    def request(
        self,
        method: str,
        via: str,
        *,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        cseq: int | None = None,
    ) -> Message:
        """The next request; `via` is transport and sent-by ("UDP 127.0.0.1:5060").

        ACK and CANCEL give the number of their INVITE in `cseq`.
        """
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        written: list[Header] = [
            ("Via", f"SIP/2.0/{via};branch={new_branch()};rport"),
            ("Max-Forwards", "70"),
            *(("Route", route) for route in self.route),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", self.contact),
        ]
        if body:
            written.append(("Content-Type", "application/sdp"))
        return Message(f"{method} {self.target} SIP/2.0", [*written, *headers], body)

    def established(self, answer: Message) -> None:
        """Takes tag, route set and target from a 2xx (or the answer that made us early)."""
        self.remote = answer.get("To")
        self.route = [route for line in answer.all("Record-Route") for route in _split(line)][::-1]
        self.target = contact_uri(answer) or self.target

    @classmethod
    def answering(cls, invite: Message, contact: str) -> Dialog:
        """The dialog of one who is called. Its tag is made here."""
        route = [route for line in invite.all("Record-Route") for route in _split(line)]
        local = f"{invite.get('To')};tag={secrets.token_hex(6)}"
        target = contact_uri(invite)
        return cls(invite.call_id, local, invite.get("From"), target, contact, 0, route)


def contact_uri(message: Message) -> str:
    """The Contact's URI; OpenSIPS' doubled bracket `<<sip:..>;+sip.src>` is read too."""
    contact = message.get("Contact")
    if "<" not in contact:
        return contact.partition(";")[0].strip()
    return contact.rpartition("<")[2].partition(">")[0].strip()


def _split(line: str) -> list[str]:
    return [route.strip() for route in line.split(",") if route.strip()]
