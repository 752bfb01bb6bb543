"""SIP transactions: retransmissions absorbed and made (RFC 3261 section 17, RFC 6026).

Server, INVITE:      PROCEEDING -2xx-> ACCEPTED -L-> ended
                     PROCEEDING -300..699-> COMPLETED -ACK-> CONFIRMED -I-> ended
Server, others:      PROCEEDING -final-> COMPLETED -J-> ended
Client:              CALLING -1xx-> PROCEEDING -final-> COMPLETED -D/K-> ended
"""

from __future__ import annotations

from enum import Enum

from siprec_worker.errors import SipError
from siprec_worker.protocol.sip.flow import UDP, Flow, Outgoing, Target
from siprec_worker.protocol.sip.message import Headers, Request, Response, canonical

T1 = 0.5  # seconds: RFC 3261 section 17.1.1.1
T2 = 4.0
T4 = 5.0
MAGIC_COOKIE = "z9hG4bK"

TransactionKey = tuple[str, ...]


class State(Enum):
    PROCEEDING = "proceeding"
    CALLING = "calling"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ENDED = "ended"


def server_key(request: Request, method: str = "") -> TransactionKey:
    """Which transaction a request is of (RFC 3261 section 17.2.3); ACK counts as INVITE.

    A branch of RFC 2543, or of nothing but the cookie, says nothing: then the older rules apply.
    """
    method = method or ("INVITE" if request.method == "ACK" else request.method)
    via = request.top_via
    sent_by = f"{via.host}:{via.port or 5060}"
    branch = via.param("branch") or ""
    if branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return (branch, sent_by, method)
    number = str(request.cseq.number)
    return (branch, sent_by, request.call_id, request.from_tag, number, request.uri, method)


def client_key(message: Request | Response) -> TransactionKey:
    """RFC 3261 section 17.1.3. Raises SipError without a readable Via or CSeq."""
    return (message.top_via.param("branch") or "", message.cseq.method)


def response_target(request: Request, flow: Flow) -> Target:
    """Always the source's address; its port if asked for (RFC 3261 section 18.2.2, RFC 3581)."""
    try:
        via = request.top_via
    except SipError:
        return Target(flow.transport, flow.host, flow.port)
    port = flow.port if via.param("rport") is not None else via.port or 5060
    return Target(flow.transport, flow.host, port)


class ServerTransaction:
    """One request of the peer: keeps the last answer and gives it again when asked again."""

    def __init__(self, request: Request, flow: Flow) -> None:
        self.request = request
        self.flow = flow
        self.state = State.PROCEEDING
        self._target = response_target(request, flow)
        self._answer: bytes | None = None
        self._resend_at: float | None = None
        self._interval = T1
        self._ends_at: float | None = None
        self._outbox: list[Outgoing] = []

    def respond(self, response: Response, now: float) -> None:
        """Sends the final answer. Provisional ones are never sent by this worker."""
        if self.state is not State.PROCEEDING:
            return
        self._answer = response.encode()
        self._send()
        if self.request.method != "INVITE":
            self.state = State.COMPLETED
            self._end_after(0 if self.flow.reliable else 64 * T1, now)  # timer J
        elif response.status < 300:
            self.state = State.ACCEPTED
            self._end_after(64 * T1, now)  # timer L
        else:
            self.state = State.COMPLETED
            self._end_after(64 * T1, now)  # timer H
            if not self.flow.reliable:
                self._resend_at = now + self._interval  # timer G

    def receive(self, request: Request, now: float) -> None:
        """A retransmission of the request, or the ACK to a refusal."""
        if request.method == "ACK":
            if self.state is State.COMPLETED:
                self.state, self._resend_at = State.CONFIRMED, None
                self._end_after(0 if self.flow.reliable else T4, now)  # timer I
        elif self.state in (State.COMPLETED, State.ACCEPTED):
            # RFC 6026 leaves the 2xx to its own timer; giving it at once as well is quicker for
            # a peer that has lost it.
            self._send()

    def next_timeout(self) -> float | None:
        return min((t for t in (self._resend_at, self._ends_at) if t is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        if self._ends_at is not None and now >= self._ends_at:
            self.state, self._ends_at, self._resend_at = State.ENDED, None, None
        elif self._resend_at is not None and now >= self._resend_at:
            self._send()
            self._interval = min(2 * self._interval, T2)
            self._resend_at = now + self._interval

    def resend(self) -> None:
        """The 2xx once more: its own timer is the dialog's (RFC 3261 section 13.3.1.4)."""
        self._send()

    def messages_to_send(self) -> list[Outgoing]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def _send(self) -> None:
        if self._answer is not None:
            self._outbox.append(Outgoing(self._answer, self._target, self.flow))

    def _end_after(self, seconds: float, now: float) -> None:
        if seconds:
            self._ends_at = now + seconds
        else:
            self.state, self._ends_at = State.ENDED, None


class ClientTransaction:
    """One request of ours within a dialog."""

    def __init__(self, request: Request, target: Target, flow: Flow | None, now: float) -> None:
        self.request = request
        self.state = State.CALLING
        self.timed_out = False
        self._target = target
        self._flow = flow
        self._reliable = target.transport != UDP
        self._interval = T1
        self._resend_at = None if self._reliable else now + T1  # timers A and E
        self._ends_at: float | None = now + 64 * T1  # timers B and F
        self._outbox = [Outgoing(request.encode(), target, flow)]
        self._ack: bytes = b""

    def receive(self, response: Response, now: float) -> Response | None:
        """Returns the response if it is news: the first final one."""
        if response.status < 200:
            if self.state is State.CALLING:
                self.state = State.PROCEEDING
                # Section 17.1.2.2 goes on every T2 for what is no INVITE; an INVITE rests.
                invite = self.request.method == "INVITE"
                self._resend_at = None if invite or self._reliable else now + T2
            return None
        if self.state in (State.COMPLETED, State.ENDED):
            self._send_ack()
            return None
        if self.request.method == "INVITE" and response.status >= 300:
            self._ack = self._refusal_ack(response).encode()
            self._send_ack()
        self.state, self._resend_at = State.COMPLETED, None
        self._ends_at = now + (0.0 if self._reliable else 64 * T1)  # timers D and K
        return response

    def next_timeout(self) -> float | None:
        return min((t for t in (self._resend_at, self._ends_at) if t is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        if self._ends_at is not None and now >= self._ends_at:
            self.timed_out = self.state in (State.CALLING, State.PROCEEDING)
            self.state, self._ends_at, self._resend_at = State.ENDED, None, None
        elif self._resend_at is not None and now >= self._resend_at:
            self._outbox.append(Outgoing(self.request.encode(), self._target, self._flow))
            cap = 64 * T1 if self.request.method == "INVITE" else T2
            self._interval = min(2 * self._interval, cap)
            self._resend_at = now + self._interval

    def messages_to_send(self) -> list[Outgoing]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def _send_ack(self) -> None:
        if self._ack:
            self._outbox.append(Outgoing(self._ack, self._target, self._flow))

    def _refusal_ack(self, response: Response) -> Request:
        """RFC 3261 section 17.1.1.3: the INVITE's own Via and Route, the answer's To."""
        items = []
        for name, value in self.request.headers.items:
            match canonical(name):
                case "via" | "from" | "call-id" | "max-forwards" | "route":
                    items.append((name, value))
                case "to":
                    items.append((name, response.headers.get("to") or value))
                case "cseq":
                    items.append((name, f"{self.request.cseq.number} ACK"))
        return Request(Headers(tuple(items)), b"", "ACK", self.request.uri)
