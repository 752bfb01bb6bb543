"""Requests on the websocket of a real Asterisk: what it takes, refuses, and leaves to HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from orchestrator.ari.bridges import HOLDING
from orchestrator.ari.client import AriClient
from orchestrator.ari.connection import AriConnection
from orchestrator.ari.rest import AriRest, open_rest
from orchestrator.errors import Conflict, NotFound
from orchestrator.telemetry import Metrics
from voicefork_cli.lab.asterisk import Asterisk

from tests.integration.orchestrator.conftest import FAILURE_SECONDS


@pytest.fixture
async def rest(asterisk: Asterisk) -> AsyncIterator[AriRest]:
    async with open_rest(
        asterisk.http_url,
        asterisk.ari_user,
        asterisk.ari_password,
        limit_seconds=FAILURE_SECONDS,
        metrics=Metrics(),
    ) as rest:
        yield rest


@pytest.fixture
async def connection(rest: AriRest) -> AsyncIterator[AriConnection]:
    """One that takes requests; it ends with the test."""
    compared = asyncio.Event()

    async def compare() -> None:
        compared.set()

    connection = AriConnection(
        rest,
        AriClient(rest, "voicefork-socket"),
        on_event=lambda _: None,
        on_connected=compare,
        metrics=Metrics(),
        requests=True,
    )
    async with AsyncExitStack() as stack:
        work = await stack.enter_async_context(asyncio.TaskGroup())
        running = work.create_task(connection.run())
        stack.callback(running.cancel)
        async with asyncio.timeout(FAILURE_SECONDS):
            await compared.wait()
        yield connection


async def test_this_asterisk_takes_requests_on_the_websocket(connection: AriConnection) -> None:
    assert connection.takes_requests


async def test_only_events_that_are_read_are_sent(rest: AriRest, connection: AriConnection) -> None:
    app = await rest.request("GET", "applications", "voicefork-socket")
    assert isinstance(app, dict)
    allowed = {each["type"] for each in app["events_allowed"]}
    assert {"StasisStart", "ChannelDestroyed", "RESTResponse"} <= allowed
    assert "ChannelVarset" not in allowed


async def test_refusals_come_back_as_they_do_by_http(
    rest: AriRest, connection: AriConnection
) -> None:
    client = AriClient(rest, "voicefork-socket")
    with pytest.raises(NotFound):
        await client.answer("no-such-channel")
    await client.create_bridge("vf-socket", HOLDING, "a name & more = text/ü")
    with pytest.raises(Conflict):
        await client.create_bridge("vf-socket", HOLDING, "again")
    assert "a name & more = text/ü" in [bridge.name for bridge in await client.bridges()]
    await client.destroy_bridge("vf-socket")


async def test_more_than_it_takes_at_a_time_goes_by_http(
    rest: AriRest, connection: AriConnection
) -> None:
    client = AriClient(rest, "voicefork-socket")
    assert len(set(await asyncio.gather(*(client.version() for _ in range(50))))) == 1


async def test_a_websocket_that_breaks_leaves_http(
    rest: AriRest, connection: AriConnection
) -> None:
    assert rest.socket is not None
    rest.socket.close()
    assert await AriClient(rest, "voicefork-socket").version()
