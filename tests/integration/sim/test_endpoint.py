"""A simulated SIP address: repetitions, refusals, requests nobody waits for."""

from __future__ import annotations

import asyncio

import pytest
from voicefork_cli.sim.dialog import Dialog
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.errors import CallTimeout, SetupMissing
from voicefork_cli.sim.flows import Flow, UdpPort
from voicefork_cli.sim.message import Message, parse_message

from tests.builders.virtual_time import eventually

LIMIT = 20.0


def request_to(endpoint: SipEndpoint, method: str = "MESSAGE") -> Message:
    dialog = Dialog("c", "<sip:a>;tag=1", "<sip:b>", endpoint.uri("b"), "<sip:a>")
    return dialog.request(method, "UDP 127.0.0.1:1")


async def test_a_request_is_repeated_over_udp_until_it_is_answered() -> None:
    loop = asyncio.get_running_loop()
    got: list[bytes] = []

    def receive(data: bytes, flow: Flow) -> None:
        got.append(data)
        if len(got) > 1:
            flow.send(parse_message(data).reply(200, "OK", to_tag="x").encode())

    async with open_sip() as one:
        port, _ = await loop.create_datagram_endpoint(
            lambda: UdpPort(receive), local_addr=("127.0.0.1", 0)
        )
        host, number = port.get_extra_info("sockname")
        request = request_to(one)
        transaction = one.begin(request, await one.flow_to(f"sip:{host}:{number}"))
        assert (await transaction.final(LIMIT)).status == 200
        assert got == [request.encode()] * 2
        port.close()


async def test_a_repeated_request_gets_the_same_answer_and_is_seen_once() -> None:
    async with open_sip() as one, open_sip() as other:
        seen: list[Message] = []

        def accept(request: Message, flow: Flow) -> None:
            seen.append(request)
            answer = request.reply(200, "OK", to_tag=f"tag{len(seen)}")
            other.reply(request, flow, answer)

        other.on_request = accept
        flow = await one.flow_to(other.uri())
        request = request_to(other)
        first = await one.begin(request, flow).final(LIMIT)
        again = await one.begin(request, flow).final(LIMIT)
        assert first.to_tag == again.to_tag == "tag1"
        assert len(seen) == 1


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_refused_invite_is_acknowledged_within_its_transaction(transport: str) -> None:
    async with open_sip() as one, open_sip() as other:
        seen: list[Message] = []

        def refuse(request: Message, flow: Flow) -> None:
            seen.append(request)
            if request.method == "INVITE":
                other.reply(request, flow, request.reply(486, "Busy Here", to_tag="t"))

        other.on_request = refuse
        flow = await one.flow_to(other.uri("b", transport))
        await one.begin(request_to(other, "INVITE"), flow).final(LIMIT)
        await eventually(lambda: len(seen) >= 2)
        invite, ack = seen[:2]
        assert (ack.method, ack.branch, ack.to_tag) == ("ACK", invite.branch, "t")


async def test_a_request_of_no_call_is_refused_and_options_answered() -> None:
    async with open_sip() as one, open_sip() as other:
        flow = await one.flow_to(other.uri())
        assert (await one.begin(request_to(other, "BYE"), flow).final(LIMIT)).status == 481
        assert (await one.begin(request_to(other, "OPTIONS"), flow).final(LIMIT)).status == 200


async def test_nobody_at_the_tcp_port_is_a_timeout() -> None:
    async with open_sip() as one:
        with pytest.raises(CallTimeout, match="cannot connect"):
            await one.flow_to("sip:127.0.0.1:9;transport=tcp")


async def test_a_taken_port_is_named() -> None:
    async with open_sip() as one:
        with pytest.raises(SetupMissing, match=str(one.port)):
            async with open_sip(port=one.port):
                pass


async def test_rubbish_is_counted_and_survived() -> None:
    async with open_sip() as one, open_sip() as other:
        flow = await one.flow_to(other.uri())
        flow.send(b"rubbish\r\n\r\n")
        assert (await one.begin(request_to(other, "OPTIONS"), flow).final(LIMIT)).status == 200
        assert other.unreadable == 1
