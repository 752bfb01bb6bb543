"""The echo agent, dialled by the worker's own HTTP/2 sender."""

from __future__ import annotations

import asyncio

from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import (
    CallId,
    CallState,
    CallStatus,
    Close,
    CloseReason,
    FromAgent,
    Leg,
    LegKind,
    Open,
    Opened,
    Role,
    SessionId,
    Speak,
)
from siprec_worker.sinks.h2_connector import H2Connector
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.target import Target
from voicefork_sdk.server import AgentServer

from sdk.examples import echo

CHUNKS = [bytes([number]) * 320 for number in range(100)]
OFFER = Open(
    call_id=CallId("call"),
    session_id=SessionId("session"),
    role=Role.PRIMARY,
    legs=(Leg(1, LegKind.CUSTOMER, "0"), Leg(2, LegKind.PBX, "1")),
)


async def test_every_chunk_comes_back_in_order() -> None:
    heard: list[FromAgent] = []
    async with AgentServer(echo.on_call, options=echo.OPTIONS) as server:
        host, _, port = server.address.rpartition(":")
        connector = H2Connector(
            Target(host, int(port)), AgentOptions(opening_seconds=20, close_seconds=20), None
        )
        stream = connector.connect(OFFER, heard.append)
        async with asyncio.timeout(40):
            while not any(isinstance(one, Opened) for one in heard):
                connector.flush()
                await asyncio.sleep(0.01)
            stream.send(CallState(CallStatus.ANSWERED))
            for number, chunk in enumerate(CHUNKS):  # as the worker's tick does, only faster
                while stream.unacked_ms > 400:  # more would be joined to larger messages
                    connector.flush()
                    await asyncio.sleep(0.005)
                stream.send_audio(number * 160, [LegAudio(1, chunk)])
                connector.flush()
                await asyncio.sleep(0.005)
            while sum(isinstance(one, Speak) for one in heard) < len(CHUNKS):
                connector.flush()
                await asyncio.sleep(0.01)
            stream.close(Close(CloseReason.CALL_ENDED))
            connector.flush()
            assert await server.drain(20)
        await connector.aclose()
    assert [one.data for one in heard if isinstance(one, Speak)] == CHUNKS
    assert server.calls_failed == 0
