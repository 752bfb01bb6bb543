"""Calls through an edge by UDP: carriers and a PBX in one process, so all times are of one clock.

No audio: what is measured is signalling. Nothing is sent again by us, so a datagram that is lost
shows as a failed call, with its reason.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from voicefork_cli.lab.ports import HOST
from voicefork_cli.sim.errors import WireError
from voicefork_cli.sim.message import Message, new_branch, parse_message
from voicefork_cli.sim.sdp import phone_sdp

NUMBER = "+14155550199"
ANSWER_SECONDS = 5.0
BUFFER_BYTES = 4 << 20
FIRST_LANE = 11  # 127.0.0.11, and so on
OK, REFUSED = 200, 300
Address = tuple[str, int]


@dataclass(slots=True)
class Placed:
    """One call. Times are of `time.perf_counter`."""

    sip_call_id: str
    lane: str
    invited: float = 0.0
    answered: float = 0.0
    pbx_seconds: float = 0.0  # INVITE in to 200 out, at the PBX
    call_id: str = ""  # X-Voicefork-Call, as the PBX is told it
    failure: str = ""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def set_up_ms(self) -> float:
        """From INVITE to 200 at the caller, without the PBX's own time."""
        return (self.answered - self.invited - self.pbx_seconds) * 1000


class Pbx(asyncio.DatagramProtocol):
    """Answers every call at once."""

    def __init__(self) -> None:
        self.placed: dict[str, Placed] = {}
        self.address: Address = (HOST, 0)
        self._answers: dict[str, bytes] = {}
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Address) -> None:
        came = time.perf_counter()
        request = _parsed(data)
        if request is None or not request.is_request or request.method == "ACK":
            return
        if request.method != "INVITE":
            self._transport.sendto(request.reply(OK, "OK", to_tag="pbx").encode(), addr)
            return
        sip_call_id = request.call_id
        if repeated := self._answers.get(sip_call_id):
            self._transport.sendto(repeated, addr)
            return
        host, port = self.address
        headers = [("Contact", f"<sip:pbx@{host}:{port}>"), ("Content-Type", "application/sdp")]
        tag, sdp = secrets.token_hex(4), phone_sdp((host, port), "PCMU")
        answer = request.reply(OK, "OK", to_tag=tag, headers=headers, body=sdp).encode()
        self._answers[sip_call_id] = answer
        call = self.placed.get(sip_call_id)
        if call is not None:
            call.call_id = request.get("X-Voicefork-Call")
            call.pbx_seconds = time.perf_counter() - came
        self._transport.sendto(answer, addr)


class Lane(asyncio.DatagramProtocol):
    """One carrier, at an address of its own, so that the edge knows it as a trunk of its own."""

    def __init__(self, name: str, pbx: Pbx) -> None:
        self.name = name
        self.address: Address = (HOST, 0)
        self.edge: Address = (HOST, 0)
        self.calls: dict[str, Placed] = {}
        self._pbx = pbx
        self._transport: asyncio.DatagramTransport
        self._answered: dict[str, asyncio.Future[Message]] = {}

    @property
    def source(self) -> str:
        """host:port."""
        return "{}:{}".format(*self.address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: Address) -> None:
        came = time.perf_counter()
        message = _parsed(data)
        if message is None:
            return
        if message.is_request:
            self._transport.sendto(message.reply(OK, "OK").encode(), addr)
            return
        call = self.calls.get(message.call_id)
        if call is None or message.status < OK:
            return
        if message.method == "INVITE" and not call.answered:
            call.answered = came
        waits = self._answered.get(f"{message.method} {message.call_id}")
        if waits is not None and not waits.done():
            waits.set_result(message)

    async def call(self, seconds: float) -> Placed:
        """One whole call, hung up after `seconds`; its failure is in it, nothing is raised."""
        sip_call_id = f"{self.name}-{secrets.token_hex(8)}"
        call = self.calls[sip_call_id] = Placed(sip_call_id, self.name)
        self._pbx.placed[sip_call_id] = call
        try:
            await self._whole(call, seconds)
        except TimeoutError:
            what = "BYE" if call.answered else "INVITE"
            call.failure = f"no answer to {what} in {ANSWER_SECONDS:g} s"
        call.over.set()
        return call

    async def _whole(self, call: Placed, seconds: float) -> None:
        near = f"<sip:+14155550100@{self.source}>;tag={secrets.token_hex(4)}"
        target, far = "sip:{}@{}:{}".format(NUMBER, *self.edge), f"<sip:{NUMBER}@edge>"
        sdp = phone_sdp(self.address, "PCMU")
        invite = self._request("INVITE", target, call, (near, far), sdp)
        answer = await self._ask(invite, call)
        if answer.status >= REFUSED:
            call.failure = f"{answer.status} {answer.reason}"
            self._send(self._request("ACK", target, call, (near, answer.get("To"))))
            return
        target, far = answer.get("Contact").strip("<>"), answer.get("To")
        self._send(self._request("ACK", target, call, (near, far)))
        await asyncio.sleep(seconds)
        ended = await self._ask(self._request("BYE", target, call, (near, far)), call)
        if ended.status >= REFUSED:
            call.failure = f"BYE: {ended.status} {ended.reason}"

    async def _ask(self, request: Message, call: Placed) -> Message:
        key = f"{request.method} {call.sip_call_id}"
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answered[key] = answer
        if request.method == "INVITE":
            call.invited = time.perf_counter()
        self._send(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        finally:
            del self._answered[key]

    def _send(self, request: Message) -> None:
        self._transport.sendto(request.encode(), self.edge)

    def _request(
        self, method: str, target: str, call: Placed, ends: tuple[str, str], sdp: bytes = b""
    ) -> Message:
        headers = [
            ("Via", f"SIP/2.0/UDP {self.source};branch={new_branch()};rport"),
            ("From", ends[0]),
            ("To", ends[1]),
            ("Call-ID", call.sip_call_id),
            ("CSeq", f"{2 if method == 'BYE' else 1} {method}"),
            ("Contact", f"<sip:carrier@{self.source}>"),
            ("Max-Forwards", "70"),
        ]
        if sdp:
            headers.append(("Content-Type", "application/sdp"))
        return Message(f"{method} {target} SIP/2.0", headers, sdp)


def _parsed(data: bytes) -> Message | None:
    try:
        return parse_message(data)
    except WireError:
        return None


async def place(lanes: Sequence[Lane], calls: int, rate: float, seconds: float) -> list[Placed]:
    """`calls` calls, `rate` a second, the lanes in turn; waits for the end of the last one."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        placed = []
        for number in range(calls):
            await asyncio.sleep(begun + number / rate - loop.time())
            lane = lanes[number % len(lanes)]
            placed.append(group.create_task(lane.call(seconds)))
    return [task.result() for task in placed]


@asynccontextmanager
async def open_peers(*names: str) -> AsyncIterator[tuple[Pbx, list[Lane]]]:
    """A PBX and a carrier of each name; their edge is set by the caller."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as opened:

        async def bind(peer: asyncio.DatagramProtocol, host: str) -> None:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            sock.bind((host, 0))
            transport, _ = await loop.create_datagram_endpoint(lambda: peer, sock=sock)
            opened.callback(transport.close)

        pbx = Pbx()
        lanes = [Lane(name, pbx) for name in names]
        await bind(pbx, HOST)
        for number, lane in enumerate(lanes, FIRST_LANE):
            await bind(lane, f"127.0.0.{number}")
        yield pbx, lanes
