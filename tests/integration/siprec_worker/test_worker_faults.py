"""A fault of our own in one call: it ends properly, and the others never notice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from siprec_worker.app import Addresses, open_worker
from siprec_worker.config import HostPort, Settings
from siprec_worker.worker import Worker
from voicefork_cli.sim.endpoint import open_sip
from voicefork_cli.sim.fork_media import open_direct_media
from voicefork_cli.sim.pacer import open_pacer
from voicefork_cli.sim.rs_metadata import RecordedCall, marked_party
from voicefork_cli.sim.source import Tone
from voicefork_cli.sim.src import ForkState, SiprecClient

ANY_PORT = HostPort("127.0.0.1:0")
CUSTOMER = marked_party("sip:+14155550100@carrier.example", "Alice", "customer")
PBX = marked_party("sip:+14155550199@pbx.example", "", "pbx")


@pytest.fixture
async def running() -> AsyncIterator[tuple[Worker, Addresses]]:
    async with open_worker(Settings(sip=ANY_PORT, admin=ANY_PORT)) as running:
        yield running


async def test_a_call_whose_tick_fails_is_dropped_and_the_others_go_on(
    running: tuple[Worker, Addresses],
) -> None:
    worker, at = running
    with open_pacer() as pacer:
        async with open_sip("127.0.0.1") as endpoint:
            with (
                open_direct_media(pacer, Tone(440), Tone(350)) as one,
                open_direct_media(pacer, Tone(440), Tone(350)) as other,
            ):
                clients: list[SiprecClient] = []
                for media in (one, other):
                    call = RecordedCall(f"call-{len(clients)}", CUSTOMER, PBX)
                    client = SiprecClient(endpoint, media, call)
                    assert await client.start([f"sip:{at.sip}"]) is ForkState.RECORDING
                    clients.append(client)
                failing, healthy = worker.calls.live()
                failing.playout = None  # type: ignore[assignment]  # the next tick stumbles
                worker.on_tick(healthy.begun + 1.0)
                assert worker.calls.live() == [healthy]
                assert failing.ended_reason == "failed"
                assert not healthy.ended_reason
                for client in clients:
                    await client.stop()
