"""The sink of a worker without an AI."""

from __future__ import annotations

import asyncio

from siprec_worker.media.model import LegAudio
from siprec_worker.session import model as m
from siprec_worker.sinks.discard import DiscardConnector

OPENING = m.Open(m.CallId("c"), m.SessionId("s"), m.Role.PRIMARY, ())


async def test_it_opens_as_proposed_once_the_session_has_its_stream() -> None:
    heard: list[m.FromAgent] = []
    DiscardConnector().connect(OPENING, heard.append)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [m.Opened(m.NARROWBAND, 20, m.NARROWBAND, no_ack=True)]


async def test_it_counts_what_it_is_told() -> None:
    connector = DiscardConnector()
    stream = connector.connect(OPENING, lambda _: None)
    stream.send_audio(0, [LegAudio(1, bytes(320))])
    stream.send(m.CallState(m.CallStatus.ANSWERED))
    connector.flush()
    assert (stream.stats.messages_sent, stream.stats.audio_ms_sent) == (2, 20)


async def test_nothing_is_delivered_or_counted_after_close() -> None:
    heard: list[m.FromAgent] = []
    connector = DiscardConnector()
    stream = connector.connect(OPENING, heard.append)
    stream.close(m.Close(m.CloseReason.CALL_ENDED))
    stream.send_audio(0, [LegAudio(1, bytes(320))])
    await asyncio.sleep(0)
    await connector.aclose()
    assert (heard, stream.stats.messages_sent) == ([], 0)
