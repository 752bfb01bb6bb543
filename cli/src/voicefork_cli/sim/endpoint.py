"""One SIP address: transactions, retransmissions, and who gets which request.

The least that a calling or answering peer needs of RFC 3261 section 17: clients repeat over UDP
(T1 doubling) until an answer comes, servers answer a repeated request as they did the first time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from voicefork_cli.sim.errors import CallTimeout, WireError
from voicefork_cli.sim.flows import Flow, TcpFlow, UdpFlow, UdpPort, bind_pair, connect
from voicefork_cli.sim.message import Message, Uri, is_final, parse_message, parse_uri

T1 = 0.5
T2 = 4.0
GIVE_UP = 64 * T1
REMEMBERED = 4096  # transactions; the oldest are forgotten
REFUSED = 300
RESPONSES = 64  # per transaction; more than that are dropped and counted

Handler = Callable[[Message, Flow], None]


class ClientTransaction:
    """One request of ours and the answers to it."""

    def __init__(self, request: Message, flow: Flow) -> None:
        self.request = request
        self.flow = flow
        self.ack: Message | None = None  # repeated for each repeated 2xx
        self.dropped = 0
        self._responses: asyncio.Queue[Message] = asyncio.Queue(RESPONSES)
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def start(self) -> None:
        self.flow.send(self.request.encode())
        if self.flow.transport == "UDP":
            self._repeat(T1, GIVE_UP)

    def receive(self, response: Message) -> None:
        if self.request.method == "INVITE" and response.status >= REFUSED:
            self.ack = _ack_of_refusal(self.request, response)
            if not self._answered:
                self.flow.send(self.ack.encode())
        if is_final(response) and self._answered:
            if self.ack is not None:
                self.flow.send(self.ack.encode())
            return
        self._answered = is_final(response)
        self.stop()
        if self._responses.full():
            self.dropped += 1
        else:
            self._responses.put_nowait(response)

    async def response(self, limit: float) -> Message:
        """The next answer. Raises CallTimeout after `limit` seconds."""
        try:
            async with asyncio.timeout(limit):
                return await self._responses.get()
        except TimeoutError as error:
            self.stop()
            host, port = self.flow.peer
            name = self.request.method
            raise CallTimeout(f"no answer to {name} from {host}:{port} in {limit:g} s") from error

    async def final(self, limit: float) -> Message:
        """The final answer, past the provisional ones. Raises CallTimeout."""
        deadline = asyncio.get_running_loop().time() + limit
        while True:
            left = deadline - asyncio.get_running_loop().time()
            response = await self.response(max(0.0, left))
            if is_final(response):
                return response

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _repeat(self, after: float, left: float) -> None:
        if left <= 0:
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(after, self._send_again, after, left - after)

    def _send_again(self, after: float, left: float) -> None:
        self.flow.send(self.request.encode())
        self._repeat(min(2 * after, T2), left)


def _ack_of_refusal(invite: Message, response: Message) -> Message:
    """RFC 3261 section 17.1.1.3: within the transaction, so with the INVITE's own branch."""
    kept = [(k, v) for k, v in invite.headers if k in ("Via", "Max-Forwards", "Route", "From")]
    ack = [
        *kept,
        ("To", response.get("To")),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq} ACK"),
    ]
    return Message(f"ACK {invite.uri} SIP/2.0", ack)


class SipEndpoint:
    """Made by `open_sip`. Requests of a known Call-ID go to `calls`, others to `on_request`."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.calls: dict[str, Handler] = {}
        self.on_request: Handler | None = None
        self.unreadable = 0
        self.udp = UdpPort(self._receive)
        self._flows: dict[tuple[str, int], TcpFlow] = {}
        self._clients: OrderedDict[tuple[str, str], ClientTransaction] = OrderedDict()
        self._answered: OrderedDict[tuple[str, str], bytes | None] = OrderedDict()

    def uri(self, user: str = "", transport: str = "udp") -> str:
        return str(Uri(user, self.host, self.port, transport))

    async def flow_to(self, target: str) -> Flow:
        """A way to the URI (or route) `target`; TCP connections are kept and used again."""
        uri = parse_uri(target)
        peer = (uri.host, uri.port)
        if uri.transport != "tcp":
            if self.udp.transport is None:
                raise CallTimeout("the endpoint is closed")
            return UdpFlow(self.udp.transport, peer)
        known = self._flows.get(peer)
        return known if known and known.is_open else await connect(uri, self._receive, self.opened)

    def begin(self, request: Message, flow: Flow) -> ClientTransaction:
        """Sends a request; its answers come to the transaction. Not for ACK."""
        transaction = ClientTransaction(request, flow)
        self._clients[request.branch, request.method] = transaction
        while len(self._clients) > REMEMBERED:
            self._clients.popitem(last=False)[1].stop()
        transaction.start()
        return transaction

    def reply(self, request: Message, flow: Flow, response: Message) -> None:
        """Sends a response, and sends it again when the request is repeated."""
        data = response.encode()
        self._remember(request, data)
        flow.send(data)

    def opened(self, flow: TcpFlow) -> None:
        self._flows[flow.peer] = flow

    def close(self) -> None:
        for transaction in self._clients.values():
            transaction.stop()
        for flow in self._flows.values():
            flow.close()
        if self.udp.transport is not None:
            self.udp.transport.close()
            self.udp.transport = None

    def _receive(self, data: bytes, flow: Flow) -> None:
        try:
            message = parse_message(data)
        except WireError:
            self.unreadable += 1
            return
        if not message.is_request:
            transaction = self._clients.get((message.branch, message.method))
            if transaction is not None:
                transaction.receive(message)
        elif message.method == "ACK" or not self._repeated(message, flow):
            self._dispatch(message, flow)

    def _repeated(self, request: Message, flow: Flow) -> bool:
        key = (request.branch, request.method)
        if key not in self._answered:
            self._remember(request, None)
            return False
        if answer := self._answered[key]:
            flow.send(answer)
        return True

    def _remember(self, request: Message, answer: bytes | None) -> None:
        self._answered[request.branch, request.method] = answer
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)

    def _dispatch(self, request: Message, flow: Flow) -> None:
        handler = self.calls.get(request.call_id, self.on_request)
        if handler is not None:
            handler(request, flow)
        elif request.method == "OPTIONS":
            self.reply(request, flow, request.reply(200, "OK", to_tag="options"))
        elif request.method != "ACK":
            answer = request.reply(481, "Call/Transaction Does Not Exist", to_tag="nobody")
            self.reply(request, flow, answer)


@asynccontextmanager
async def open_sip(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[SipEndpoint]:
    """A SIP address over UDP and TCP. Raises SetupMissing where the port is taken."""
    loop = asyncio.get_running_loop()
    udp, tcp = bind_pair(host, port)
    endpoint = SipEndpoint(host, udp.getsockname()[1])
    await loop.create_datagram_endpoint(lambda: endpoint.udp, sock=udp)
    server = await loop.create_server(
        lambda: TcpFlow(endpoint._receive, endpoint.opened),
        sock=tcp,
    )
    try:
        yield endpoint
    finally:
        endpoint.close()
        server.close()
        await server.wait_closed()
