"""The ARI client at a real Asterisk: what it asks, and how Asterisk's refusals come back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from orchestrator.ari.bridges import HOLDING
from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.pbx import AriPbx
from orchestrator.ari.rest import AriRest, open_rest
from orchestrator.errors import Conflict, NotFound, PbxError, Unreachable
from orchestrator.telemetry import Metrics
from voicefork_cli.lab.asterisk import Asterisk

from tests.integration.orchestrator.conftest import FAILURE_SECONDS, Pbx

NO_SUCH = "no-such-channel"


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
async def client(rest: AriRest, pbx: Pbx) -> AriClient:
    return AriClient(rest, "voicefork-test")


@pytest.fixture
async def registered(rest: AriRest, client: AriClient) -> AsyncIterator[None]:
    """An application exists while a websocket of it is open."""
    socket = await rest.connect(client.app, FAILURE_SECONDS)
    yield
    await socket.close()


async def test_the_version_is_told(client: AriClient) -> None:
    assert int((await client.version()).partition(".")[0]) >= 20


async def test_a_channel_that_is_gone_is_not_found(client: AriClient) -> None:
    with pytest.raises(NotFound) as caught:
        await client.answer(NO_SUCH)
    assert (caught.value.method, caught.value.status) == ("POST", 404)
    assert caught.value.path == f"/channels/{NO_SUCH}/answer"


async def test_a_bridge_that_exists_is_a_conflict(client: AriClient) -> None:
    await client.create_bridge("vf-twice", HOLDING, "test")
    with pytest.raises(Conflict):
        await client.create_bridge("vf-twice", HOLDING, "test")
    await client.destroy_bridge("vf-twice")


async def test_bridges_are_listed_with_their_names(client: AriClient) -> None:
    await client.create_bridge("vf-listed", name="voicefork-test c1")
    assert ("vf-listed", "voicefork-test c1") in [(b.id, b.name) for b in await client.bridges()]
    await client.destroy_bridge("vf-listed")


async def test_a_wrong_password_is_told_as_such(asterisk: Asterisk) -> None:
    async with open_rest(
        asterisk.http_url,
        asterisk.ari_user,
        "wrong",
        limit_seconds=FAILURE_SECONDS,
        metrics=Metrics(),
    ) as rest:
        with pytest.raises(PbxError) as caught:
            await AriClient(rest, "x").channels()
    assert caught.value.status == 401


async def test_a_node_that_does_not_answer_is_unreachable() -> None:
    async with open_rest(
        "http://127.0.0.1:9", "u", "p", limit_seconds=1.0, metrics=Metrics()
    ) as rest:
        with pytest.raises(Unreachable):
            await AriClient(rest, "x").channels()


@pytest.mark.parametrize(
    ("queue", "exists"),
    [(Place("voicefork-queue", "s"), True), (Place("nowhere", "s"), False)],
)
@pytest.mark.usefixtures("registered")
async def test_a_queue_is_looked_for_before_callers_are_sent_there(
    client: AriClient, pbx: Pbx, queue: Place, exists: bool
) -> None:
    asking = AriPbx(client, queue=queue, music_class="", ring_tone="440", limit=FAILURE_SECONDS)
    assert await asking.queue_exists() is exists
    await pbx.wait_empty()


@pytest.mark.usefixtures("registered")
async def test_a_channel_that_a_predecessor_asked_by_is_ended(client: AriClient, pbx: Pbx) -> None:
    queue = Place("voicefork-queue", "s")
    await client.create(f"vf-probe-{client.app}", "Local/s@voicefork-queue/n")
    asking = AriPbx(client, queue=queue, music_class="", ring_tone="440", limit=FAILURE_SECONDS)
    assert await asking.queue_exists()
    await pbx.wait_empty()


@pytest.mark.usefixtures("registered")
async def test_a_channel_is_ended_that_was_made_for_who_had_given_up(
    client: AriClient, pbx: Pbx, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(channel_id: str, endpoint: str) -> None:
        await AriClient.create(client, channel_id, endpoint)
        raise Unreachable("POST", "/channels/create", 0, "TimeoutError")

    monkeypatch.setattr(client, "create", late)
    queue = Place("voicefork-queue", "s")
    asking = AriPbx(client, queue=queue, music_class="", ring_tone="440", limit=FAILURE_SECONDS)
    with pytest.raises(Unreachable):
        await asking.queue_exists()
    await pbx.wait_empty()


@pytest.mark.usefixtures("registered")
async def test_external_media_says_where_it_takes_rtp(client: AriClient) -> None:
    leg = await client.external_media("vf-leg", "127.0.0.1:4000", "ulaw")
    assert leg.local_host == "127.0.0.1"
    assert leg.local_port > 1024
    await client.hang_up("vf-leg")
