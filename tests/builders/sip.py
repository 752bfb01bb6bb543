"""SIP messages for tests, and an answering endpoint that is fed them without sockets."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from siprec_worker.protocol.sip.events import Invited, UasEvent
from siprec_worker.protocol.sip.flow import Flow
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.parsing import parse_message
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.uas import Uas

from tests.builders.sdp import sdp

UDP_FLOW = Flow("udp", "127.0.0.1", 5060)
TCP_FLOW = Flow("tcp", "127.0.0.1", 40123, connection=7)
SDP = ("Content-Type", "application/sdp")
ANSWER = sdp(host="127.0.0.1")


def request(  # noqa: PLR0913 - a message has this many parts
    method: str = "OPTIONS",
    *,
    uri: str = "sip:srs@127.0.0.1:5090",
    branch: str = "z9hG4bK1",
    call_id: str = "B2B.1@test",
    cseq: int = 2,
    from_tag: str = "src-tag",
    to_tag: str = "",
    via: str = "",
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A request as OpenSIPS writes it; `headers` are added and may repeat a name."""
    to = "<sip:srs@127.0.0.1:5090>" + (f";tag={to_tag}" if to_tag else "")
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via or f'SIP/2.0/UDP 127.0.0.1:5060;branch={branch}'}",
        f"To: {to}",
        f"From: <sip:src@127.0.0.1>;tag={from_tag}",
        f"CSeq: {cseq} {method}",
        f"Call-ID: {call_id}",
        "Max-Forwards: 70",
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def invite(
    *, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), **kwargs: object
) -> bytes:
    """An INVITE with a Contact; application/sdp unless `headers` say otherwise."""
    extra = [("Contact", "<sip:127.0.0.1:5060>;+sip.src"), *headers]
    if body and not any(name.lower() == "content-type" for name, _ in extra):
        extra.append(SDP)
    return request("INVITE", body=body, headers=extra, **kwargs)  # type: ignore[arg-type]


def response_to(
    asked: Request, status: int, *, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    return asked.reply(status, "", body, headers).encode()


class Bench:
    """A Uas, what it sent, and what it told; time moves only by `at` and `run_until`."""

    def __init__(self, settings: UasSettings | None = None, flow: Flow = UDP_FLOW) -> None:
        tokens = count(1)
        self.uas = Uas(
            settings or UasSettings("127.0.0.1", 5090), new_token=lambda: f"token{next(tokens)}"
        )
        self.flow = flow
        self.now = 0.0
        self.events: list[UasEvent] = []
        self.sent: list[tuple[float, Request | Response]] = []

    def receive(self, data: bytes, flow: Flow | None = None) -> None:
        self.uas.receive(data, flow or self.flow, self.now)
        self.collect()

    def collect(self) -> None:
        self.events += self.uas.events()
        self.sent += [(self.now, parse_message(m.data)) for m in self.uas.messages_to_send()]

    def run_until(self, end: float) -> None:
        while (due := self.uas.next_timeout()) is not None and due <= end:
            self.now = due
            self.uas.handle_timeout(due)
            self.collect()
        self.now = end

    def invited(self, data: bytes) -> Invited:
        self.receive(data)
        event = self.events[-1]
        assert isinstance(event, Invited)
        return event

    def accepted(self, data: bytes, sdp: bytes) -> Invited:
        """Up to and with the 200, 20 ms later."""
        event = self.invited(data)
        assert self.uas.accept(event.dialog_id, sdp, self.now)
        self.run_until(self.now + 0.02)
        return event

    @property
    def responses(self) -> list[Response]:
        return [m for _, m in self.sent if isinstance(m, Response)]

    @property
    def requests(self) -> list[Request]:
        return [m for _, m in self.sent if isinstance(m, Request)]

    @property
    def statuses(self) -> list[int]:
        return [response.status for response in self.responses]

    def ack(self, event: Invited, body: bytes = b"") -> None:
        answer = self.responses[-1]
        self.receive(
            request(
                "ACK", branch="z9hG4bKack", cseq=answer.cseq.number, to_tag=answer.to_tag,
                call_id=event.request.call_id, body=body, headers=[SDP] if body else [],
            )
        )  # fmt: skip


def confirmed_call(bench: Bench) -> Invited:
    """A call that is answered and acknowledged; what led there is forgotten."""
    event = bench.accepted(invite(body=sdp()), ANSWER)
    bench.ack(event)
    bench.sent.clear()
    bench.events.clear()
    return event


def to_tag(event: Invited) -> str:
    """The tag that the endpoint gave its side of the dialog."""
    return event.dialog_id.split(";local=")[1].split(";")[0]


def in_dialog(
    event: Invited,
    method: str,
    cseq: int,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A request of the peer within the event's dialog."""
    branch, tag = f"z9hG4bK{method}{cseq}", to_tag(event)
    if method == "INVITE":
        return invite(branch=branch, cseq=cseq, to_tag=tag, body=body, headers=headers)
    return request(method, branch=branch, cseq=cseq, to_tag=tag, body=body, headers=headers)
