"""Asterisk may lose a stop of the music: it is asked twice, and never after a new start."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator.ari.client import AriClient
from orchestrator.errors import NotFound

from tests.fakes.ari_node import FakeAriNode

START, STOP = "POST channels/caller/moh", "DELETE channels/caller/moh"


async def asked(node: FakeAriNode, requests: int = 1) -> None:
    async with asyncio.timeout(2.0):
        while len(node.requests) < requests:  # noqa: ASYNC110 - the node is in the same loop
            await asyncio.sleep(0)


async def begun_to_stop(node: FakeAriNode, client: AriClient) -> asyncio.Future[None]:
    """Asterisk has been asked once."""
    stopping = asyncio.ensure_future(client.stop_music("caller"))
    await asked(node)
    return stopping


async def test_music_is_stopped_twice(node: FakeAriNode, client: AriClient) -> None:
    await client.stop_music("caller")
    assert node.requests == [STOP, STOP]


async def test_music_that_is_started_meanwhile_plays_on(
    node: FakeAriNode, client: AriClient
) -> None:
    stopping = await begun_to_stop(node, client)
    await client.start_music("caller")
    await stopping
    assert node.requests == [STOP, START]


async def test_a_caller_who_hangs_up_meanwhile_is_no_error(
    node: FakeAriNode, client: AriClient
) -> None:
    stopping = await begun_to_stop(node, client)
    node.refuse["moh"] = 404
    await stopping
    assert node.requests == [STOP, STOP]


async def test_music_that_does_not_play_is_not_stopped_again(
    node: FakeAriNode, client: AriClient
) -> None:
    await client.stop_music("caller")
    await client.stop_music("caller")
    assert node.requests == [STOP, STOP]


@pytest.mark.parametrize("forgotten", ["caller", ""], ids=["it came in", "a new connection"])
async def test_music_that_others_may_have_begun_is_stopped(
    node: FakeAriNode, client: AriClient, forgotten: str
) -> None:
    await client.stop_music("caller")
    client.forget_quiet(forgotten)
    await client.stop_music("caller")
    assert node.requests == [STOP, STOP, STOP, STOP]


async def test_music_that_was_started_again_is_stopped_again(
    node: FakeAriNode, client: AriClient
) -> None:
    await client.stop_music("caller")
    await client.start_music("caller")
    await client.stop_music("caller")
    assert node.requests == [STOP, STOP, START, STOP, STOP]


async def test_music_that_is_started_before_the_second_answer_is_stopped_again(
    node: FakeAriNode, client: AriClient
) -> None:
    stopping = asyncio.ensure_future(client.stop_music("caller"))
    await asked(node, 2)
    await client.start_music("caller")
    await stopping
    await client.stop_music("caller")
    assert node.requests == [STOP, STOP, START, STOP, STOP]


async def test_music_of_a_caller_who_is_gone_cannot_be_stopped(
    node: FakeAriNode, client: AriClient
) -> None:
    node.refuse["moh"] = 404
    with pytest.raises(NotFound):
        await client.stop_music("caller")
    assert node.requests == [STOP]
