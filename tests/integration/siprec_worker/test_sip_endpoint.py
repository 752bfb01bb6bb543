"""The SIP endpoint over real UDP and TCP sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from siprec_worker.errors import SetupError
from siprec_worker.net.sip_endpoint import DEFAULT_LIMITS, SipEndpoint, open_sip_endpoint
from siprec_worker.net.sip_tcp import TcpLimits
from siprec_worker.protocol.sip.events import (
    Confirmed,
    HungUp,
    Invited,
    NotRecorded,
    ReinviteAnswered,
    UasEvent,
    Unconfirmed,
)
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.sdp import sdp
from tests.builders.sip import invite, request, response_to
from tests.integration.interop.client import Peer, connected_peer

ANSWER = sdp(host="127.0.0.1")
both = pytest.mark.parametrize("transport", ["udp", "tcp"])


class Listener:
    """Accepts every call at once and keeps what it is told."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[UasEvent] = asyncio.Queue()

    def __call__(self, endpoint: SipEndpoint, event: UasEvent) -> None:
        if isinstance(event, Invited):
            endpoint.accept(event.dialog_id, ANSWER)
        self.told.put_nowait(event)

    async def wait_for(self, kind: type[UasEvent]) -> UasEvent:
        async with asyncio.timeout(20):
            while not isinstance(event := await self.told.get(), kind):
                pass
        return event


class Line:
    """An endpoint and one peer of it."""

    def __init__(self, endpoint: SipEndpoint, listener: Listener, peer: Peer, kind: str) -> None:
        self.endpoint = endpoint
        self.listener = listener
        self.peer = peer
        host, port = peer.address
        self._via = f"SIP/2.0/{kind.upper()} {host}:{port};branch="
        self.contact = ("Contact", f"<sip:{host}:{port};transport={kind}>;+sip.src")

    def invite(self, branch: str = "z9hG4bKi") -> bytes:
        return request(
            "INVITE", via=self._via + branch, body=sdp(),
            headers=[self.contact, ("Content-Type", "application/sdp")],
        )  # fmt: skip

    def request(self, method: str, cseq: int, to_tag: str = "") -> bytes:
        via = f"{self._via}z9hG4bK{method}{cseq}"
        return request(method, via=via, cseq=cseq, to_tag=to_tag)

    async def answered(self) -> Response:
        self.peer.send(self.invite())
        answer = await self.peer.final_response("INVITE", 2)
        assert answer.status == 200
        return answer

    async def confirmed(self) -> Response:
        answer = await self.answered()
        self.peer.send(self.request("ACK", 2, answer.to_tag))
        await self.listener.wait_for(Confirmed)
        return answer

    async def next_request(self, method: str) -> Request:
        async with asyncio.timeout(20):
            while True:
                message = await self.peer.inbox.get()
                if isinstance(message, Request) and message.method == method:
                    return message


@asynccontextmanager
async def line(
    transport: str, limits: TcpLimits = DEFAULT_LIMITS, **times: float
) -> AsyncIterator[Line]:  # fmt: skip
    listener = Listener()
    settings = UasSettings("127.0.0.1", 0, **times)  # type: ignore[arg-type]
    async with (
        open_sip_endpoint("127.0.0.1", 0, settings, listener, limits) as endpoint,
        connected_peer(transport, endpoint.host, endpoint.port) as peer,
    ):
        yield Line(endpoint, listener, peer, transport)


async def round_trip(endpoint: SipEndpoint) -> None:
    async with connected_peer("udp", endpoint.host, endpoint.port) as peer:
        host, port = peer.address
        peer.send(request(via=f"SIP/2.0/UDP {host}:{port};branch=z9hG4bKo", cseq=9))
        assert (await peer.final_response("OPTIONS", 9)).status == 200


@both
async def test_a_call_is_answered_confirmed_and_hung_up(transport: str) -> None:
    async with line(transport) as call:
        answer = await call.confirmed()
        assert answer.body == ANSWER
        call.peer.send(call.request("BYE", 3, answer.to_tag))
        assert (await call.peer.final_response("BYE", 3)).status == 200
        assert isinstance(await call.listener.wait_for(HungUp), HungUp)


@both
async def test_the_200_comes_no_earlier_than_20_ms(transport: str) -> None:
    async with line(transport) as call:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await call.answered()
        assert loop.time() - began >= 0.0195


async def test_a_retransmitted_invite_is_one_call() -> None:
    async with line("udp") as call:
        for _ in range(3):
            call.peer.send(call.invite())
        first = await call.peer.final_response("INVITE", 2)
        call.peer.send(call.invite())
        assert await call.peer.final_response("INVITE", 2) == first
        assert call.endpoint.uas.dialog_count == 1


async def test_an_invite_split_over_tcp_segments_is_one_message() -> None:
    async with line("tcp") as call:
        raw = call.invite()
        for start in range(0, len(raw), 50):
            call.peer.send(raw[start : start + 50])
            await asyncio.sleep(0)
        assert (await call.peer.final_response("INVITE", 2)).status == 200


@both
async def test_without_ack_the_endpoint_reinvites_and_a_200_confirms(transport: str) -> None:
    async with line(transport, confirm_after=0.05) as call:
        await call.answered()
        asked = await call.next_request("INVITE")
        assert isinstance(await call.listener.wait_for(Unconfirmed), Unconfirmed)
        call.peer.send(response_to(asked, 200, body=sdp()))
        assert (await call.next_request("ACK")).cseq.number == asked.cseq.number
        event = await call.listener.wait_for(Confirmed)
        assert isinstance(event, Confirmed)
        assert event.body == sdp()


@both
async def test_a_488_to_the_reinvite_is_not_recorded(transport: str) -> None:
    async with line(transport, confirm_after=0.05) as call:
        await call.answered()
        asked = await call.next_request("INVITE")
        call.peer.send(response_to(asked, 488))
        assert isinstance(await call.listener.wait_for(NotRecorded), NotRecorded)
        assert (await call.next_request("BYE")).call_id == asked.call_id


@both
async def test_our_own_reinvite_is_answered(transport: str) -> None:
    async with line(transport) as call:
        await call.confirmed()
        (dialog_id,) = call.endpoint.uas.dialog_ids
        assert call.endpoint.reinvite(dialog_id, ANSWER)
        call.peer.send(response_to(await call.next_request("INVITE"), 200, body=sdp()))
        event = await call.listener.wait_for(ReinviteAnswered)
        assert event == ReinviteAnswered(dialog_id, 200, sdp())


async def test_our_request_goes_over_a_new_connection_when_the_old_one_is_gone() -> None:
    accepted: asyncio.Queue[Peer] = asyncio.Queue()

    class Waiting(Peer):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            accepted.put_nowait(self)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Waiting("tcp"), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        async with line("tcp") as call:
            call.contact = ("Contact", f"<sip:{host}:{port};transport=tcp>;+sip.src")
            await call.confirmed()
            (dialog_id,) = call.endpoint.uas.dialog_ids
            call.peer.close()
            await call.peer.closed.wait()
            await round_trip(call.endpoint)  # by now the endpoint has seen the close, too
            assert call.endpoint.connection_count == 0
            assert call.endpoint.bye(dialog_id)
            async with asyncio.timeout(20):
                peer = await accepted.get()
            bye = await peer.receive()
            assert isinstance(bye, Request)
            assert bye.method == "BYE"
            peer.send(bye.reply(200).encode())
            peer.close()
    finally:
        server.close()
        await server.wait_closed()


async def test_connections_over_the_limit_are_closed() -> None:
    async with line("tcp", TcpLimits(connections=1)) as call:
        await call.answered()
        async with (
            connected_peer("tcp", call.endpoint.host, call.endpoint.port) as second,
            asyncio.timeout(20),
        ):
            await second.closed.wait()
        assert not call.peer.closed.is_set()


async def test_a_half_sent_message_does_not_hold_its_connection_for_ever() -> None:
    async with line("tcp", TcpLimits(message=0.01)) as call:
        call.peer.send(call.invite()[:100])
        async with asyncio.timeout(20):
            await call.peer.closed.wait()


async def test_an_unframeable_stream_is_refused_and_closed() -> None:
    async with line("tcp") as call:
        head = call.request("INFO", 5).replace(b"Content-Length: 0", b"Content-Length: 70000")
        call.peer.send(head)
        assert (await call.peer.final_response("INFO", 5)).status == 400
        async with asyncio.timeout(20):
            await call.peer.closed.wait()


@both
async def test_an_unavailable_endpoint_refuses_at_once(transport: str) -> None:
    async with line(transport) as call:
        call.endpoint.available = False
        call.peer.send(call.invite())
        assert (await call.peer.final_response("INVITE", 2)).status == 503


async def test_a_listener_that_fails_costs_only_its_own_call() -> None:
    def fail(endpoint: SipEndpoint, event: UasEvent) -> None:
        raise RuntimeError("a fault in the session")

    settings = UasSettings("127.0.0.1", 0)
    async with (
        open_sip_endpoint("127.0.0.1", 0, settings, fail) as endpoint,
        connected_peer("udp", endpoint.host, endpoint.port) as peer,
    ):
        host, port = peer.address
        peer.send(invite(via=f"SIP/2.0/UDP {host}:{port};branch=z9hG4bKf", body=sdp()))
        await round_trip(endpoint)


async def test_a_port_in_use_is_a_setup_error() -> None:
    async with line("udp") as call:
        with pytest.raises(SetupError):
            async with open_sip_endpoint(
                "127.0.0.1", call.endpoint.port, UasSettings("127.0.0.1", 0), Listener()
            ):
                pass
