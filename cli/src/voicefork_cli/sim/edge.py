"""OpenSIPS and rtpengine at the edge, as far as carriers, PBX and workers can tell.

A proxy on the path of every message (Record-Route) between a carrier and a PBX, over UDP. It
relays the media through rtpengine, mints `X-Voicefork-Call`, forks the call to a recorder on the
first reply with SDP, tells the recorder of each answered re-INVITE, and ends the fork with the
call. Every call's messages pass in order, one at a time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from voicefork_cli.sim.edge_call import (
    OK,
    REFUSED,
    Address,
    EdgeCall,
    EdgePlan,
    Passage,
    Side,
    host_and_port,
    new_call_id,
    own_branch,
    without_ours,
)
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.errors import NgError, WireError
from voicefork_cli.sim.flows import Flow, UdpPort, bind_pair
from voicefork_cli.sim.message import Header, Message, parse_message
from voicefork_cli.sim.ng import NgClient, open_ng
from voicefork_cli.sim.src import SiprecClient
from voicefork_cli.sim.tasks import TaskOwner

INBOX = 500  # messages of one call waiting; more are dropped and counted
PASSAGES = 8192
CLOSE_SECONDS = 5.0
FORGOTTEN_AFTER = 32.0  # 64 T1: no message of an ended call comes later


class Edge:
    """Made by `open_edge`."""

    def __init__(self, address: Address, plan: EdgePlan, ng: NgClient, own: SipEndpoint) -> None:
        self.plan = plan
        self.uri = f"sip:{address[0]}:{address[1]}"
        self.calls: dict[str, EdgeCall] = {}  # by the carrier call's Call-ID; kept after the end
        self.dropped = 0
        self.udp = UdpPort(self._receive)
        self._address = address
        self._ng = ng
        self._recorder = own
        self._pbx = host_and_port(plan.pbx)
        self._inboxes: dict[str, asyncio.Queue[tuple[Message, Address]]] = {}
        self._passages: OrderedDict[tuple[str, str], Passage] = OrderedDict()
        self._tasks = TaskOwner()

    @property
    def forks(self) -> dict[str, list[SiprecClient]]:
        """The recordings of each call, by X-Voicefork-Call."""
        return {call.voicefork_call: call.forks for call in self.calls.values()}

    async def close(self) -> None:
        """Ends what still runs, the recorders' dialogs too."""
        async with asyncio.timeout(CLOSE_SECONDS * max(1, len(self.calls))):
            await asyncio.gather(*(call.end() for call in self.calls.values()))
        await self._tasks.close()
        if self.udp.transport is not None:
            self.udp.transport.close()

    def _receive(self, data: bytes, flow: Flow) -> None:
        try:
            message = parse_message(data)
        except WireError:
            self.dropped += 1
            return
        inbox = self._inboxes.get(message.call_id)
        if inbox is None:
            if message.is_request and message.method == "OPTIONS":
                flow.send(message.reply(200, "OK", to_tag="edge").encode())
                return
            inbox = self._inboxes[message.call_id] = asyncio.Queue(INBOX)
            self._tasks.start(self._serve(message.call_id, inbox))
        if inbox.full():
            self.dropped += 1
        else:
            inbox.put_nowait((message, flow.peer))

    async def _serve(self, call_id: str, inbox: asyncio.Queue[tuple[Message, Address]]) -> None:
        while True:
            try:
                async with asyncio.timeout(FORGOTTEN_AFTER):
                    message, source = await inbox.get()
            except TimeoutError:
                call = self.calls.get(call_id)
                if call is None or call.ended:
                    del self._inboxes[call_id]
                    return
                continue
            try:
                if message.is_request:
                    await self._request(message, source)
                else:
                    await self._response(message, source)
            except (NgError, WireError) as error:
                self._failed(message, source, str(error))

    # --- requests ---------------------------------------------------------------------------

    async def _request(self, request: Message, source: Address) -> None:
        branch = own_branch(request)
        if known := self._passages.get((branch, request.method)):
            self._send(known.forwarded, known.destination)  # a repetition
            return
        call = self.calls.get(request.call_id)
        if call is None:
            if request.method != "INVITE" or request.to_tag:
                if request.method != "ACK":
                    self._send(request.reply(404, "Not here").encode(), source)
                return
            call = self._begun(request, source)
        if request.method == "INVITE":
            self._send(request.reply(100, "Giving it a try").encode(), source)
        passage = self._passage(call, request, source, branch)
        body = await call.relayed(request, source)
        passage.forwarded = self._forwarded(call, request, passage, branch, body)
        self._send(passage.forwarded, passage.destination)
        if request.method == "BYE":
            self._tasks.start(call.end())

    def _begun(self, invite: Message, source: Address) -> EdgeCall:
        side = Side.PBX if source == self._pbx else Side.CARRIER
        call = EdgeCall(invite.call_id, side, self.plan, self._ng, self._recorder, invite)
        told = invite.get("X-Voicefork-Call") if side is Side.PBX else ""
        call.voicefork_call = told or new_call_id()
        self.calls[invite.call_id] = call
        return call

    def _passage(self, call: EdgeCall, request: Message, source: Address, branch: str) -> Passage:
        """Where a request goes: with its INVITE, along its Route, or to the other side."""
        invited = self._passages.get((branch, "INVITE"))
        if invited is not None:  # its CANCEL, or the ACK of a refusal
            passage = Passage(source, invited.destination, request.method, invited.uri)
        elif request.to_tag:
            routes = [route for route in request.all("Route") if not self._is_ours(route)]
            next_hop = host_and_port(routes[0] if routes else request.uri)
            passage = Passage(source, next_hop, request.method, request.uri, within=True)
        else:
            other = self.plan.pbx if call.side is Side.CARRIER else self.plan.carrier
            if not other:
                raise WireError("the PBX calls out, and the plan names no carrier")
            passage = Passage(source, host_and_port(other), "INVITE", request.uri)
        self._passages[branch, request.method] = passage
        while len(self._passages) > PASSAGES:
            self._passages.popitem(last=False)
        return passage

    def _forwarded(
        self, call: EdgeCall, request: Message, passage: Passage, branch: str, body: bytes
    ) -> bytes:
        host, port = self._address
        headers = [("Via", f"SIP/2.0/UDP {host}:{port};branch={branch}")]
        if request.method == "INVITE":
            headers.append(("Record-Route", f"<sip:{host}:{port};lr>"))
        kept = without_ours(request.headers)
        headers += [_one_hop_on(h) for h in kept if h[0] != "Route" or not self._is_ours(h[1])]
        if request.method == "INVITE" and not request.to_tag:
            headers += call.identity_headers()
            if call.side is Side.PBX and not call.wants_fork:
                headers.append(("X-Voicefork-Fork", "no"))
        return Message(f"{request.method} {passage.uri} SIP/2.0", headers, body).encode()

    # --- responses --------------------------------------------------------------------------

    async def _response(self, response: Message, source: Address) -> None:
        passage = self._passages.get((response.branch, response.method))
        call = self.calls.get(response.call_id)
        if passage is None or call is None or response.status == 100:  # noqa: PLR2004 - Trying
            return
        body = await call.relayed(response, source)
        vias = [index for index, (name, _) in enumerate(response.headers) if name == "Via"]
        headers = [h for index, h in enumerate(response.headers) if index != vias[0]]
        self._send(Message(response.start, headers, body).encode(), passage.source)
        if response.method == "INVITE":
            self._told_recorder(call, response, passage)

    def _told_recorder(self, call: EdgeCall, response: Message, passage: Passage) -> None:
        """What an INVITE's answer means to the fork."""
        if response.status >= REFUSED:
            if not passage.within:
                self._tasks.start(call.end())
        elif not passage.within and response.body and not call.forked and call.wants_fork:
            call.forked = True
            self._tasks.start(call.start_fork(response.to_tag))
        elif passage.within and response.status >= OK:
            self._tasks.start(call.refresh_forks())

    def _failed(self, message: Message, source: Address, text: str) -> None:
        """The relay refused: a request is answered 500, a response is lost."""
        call = self.calls.get(message.call_id)
        if call is not None:
            call.errors.append(text)
        if message.is_request and message.method != "ACK":
            answer = message.reply(500, "Media relay failed", to_tag="edge")
            self._send(answer.encode(), source)

    def _is_ours(self, route: str) -> bool:
        return host_and_port(route) == self._address

    def _send(self, data: bytes, to: Address) -> None:
        if self.udp.transport is not None and data:
            self.udp.transport.sendto(data, to)


def _one_hop_on(header: Header) -> Header:
    name, value = header
    return (name, str(int(value) - 1)) if name == "Max-Forwards" and value.isdigit() else header


@asynccontextmanager
async def open_edge(
    plan: EdgePlan, ng: Address, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Edge]:
    """An edge at `edge.uri`, with the rtpengine whose NG protocol is at `ng`.

    Raises:
        SetupMissing: the port is taken.
        NgError: no rtpengine answers there.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_ng(ng))
        await client.ping()
        own = await stack.enter_async_context(open_sip(host))
        udp, tcp = bind_pair(host, port)
        tcp.close()  # the edge is UDP only towards carriers and PBX
        edge = Edge((host, udp.getsockname()[1]), plan, client, own)
        await loop.create_datagram_endpoint(lambda: edge.udp, sock=udp)
        try:
            yield edge
        finally:
            await edge.close()
