"""The echo example, served for real and dialled as a worker would."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.server import AgentServer

from sdk.examples import echo
from tests.fakes.worker_peer import dial, opening

PCM = bytes(range(256)) * 25  # 400 ms at 8 kHz


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with AgentServer(echo.on_call, options=echo.OPTIONS) as server:
        yield server.address


async def test_echo_says_the_samples_it_hears(address: str) -> None:
    async with dial(address) as peer:
        await peer.open(opening())
        await peer.answer()
        await peer.hear(PCM)
        await peer.until(lambda: len(peer.spoken()) >= len(PCM))
        assert peer.spoken() == PCM


async def test_echo_is_silent_before_the_answer(address: str) -> None:
    async with dial(address) as peer:
        await peer.open(opening())
        await peer.hear(PCM[:3200])
        await peer.answer()
        await peer.hear(PCM[3200:])
        await peer.until(lambda: len(peer.spoken()) >= 3200)
        assert peer.spoken() == PCM[3200:]


async def test_echo_asks_for_the_customer_only(address: str) -> None:
    async with dial(address) as peer:
        opened = await peer.open(opening(encoding=pb.ENCODING_G711_ULAW))
        assert list(opened.legs) == [1]
        assert opened.uplink.encoding == pb.ENCODING_PCM_S16LE
