"""Requests of many SIP stacks, by hand: a worker answers each as the RFC or its need has it."""

from __future__ import annotations

import pytest

from tests.integration.interop.client import connected_peer
from tests.integration.interop.corpus import addressed, cseq_of
from tests.integration.interop.forms.messages import MESSAGES, Message
from tests.integration.interop.walk import assert_alive
from tests.integration.interop.worker import running_worker

CASES = [
    pytest.param(message, transport, id=f"{message.name}-{transport}")
    for message in MESSAGES
    for transport in ("udp", "tcp")
    if not (message.udp_only and transport == "tcp")
    and not (message.name == "no Content-Length on a stream" and transport == "udp")
]


@pytest.mark.parametrize(("message", "transport"), CASES)
async def test_a_message_gets_its_answer(message: Message, transport: str) -> None:
    async with (
        running_worker() as worker,
        connected_peer(transport, worker.host, worker.port) as peer,
    ):
        raw = addressed(message.raw, transport, *peer.address)
        peer.send(raw)
        readable = message.status not in (400, 505)
        answer = await peer.final_response(message.method, cseq_of(raw) if readable else None)
        assert answer.status == message.status
        for name, text in message.headers:
            assert text in ", ".join(answer.headers.all(name))
        async with connected_peer(transport, worker.host, worker.port) as other:
            await assert_alive(other, transport)
