"""A call that is over leaves its page and nothing else: not even for the collector to find."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from siprec_worker.net.media_sockets import BotVoice, RecordedLeg
from siprec_worker.session.call import RecordedCall
from siprec_worker.sinks.conversation import Conversation

from tests.builders.sdp import sdp
from tests.fakes.agent_server import AgentServer, agent_server
from tests.integration.interop.caller import Caller
from tests.integration.interop.client import Peer, connected_peer
from tests.integration.interop.worker import RunningWorker, running_worker
from tests.integration.siprec_worker.sink_calls import eventually

PLAIN = [("Content-Type", "application/sdp")]
CALLS = 12
OF_A_CALL = (RecordedCall, RecordedLeg, BotVoice, Conversation)


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, OF_A_CALL)]


@dataclass(frozen=True, slots=True)
class Scene:
    """A worker, its client and its AI."""

    worker: RunningWorker
    peer: Peer
    agent: AgentServer


@asynccontextmanager
async def scene(scheme: str) -> AsyncIterator[Scene]:
    async with agent_server() as agent:
        url = f"{scheme}://127.0.0.1:{agent.port}"
        async with (
            running_worker(agent=url, dial="fork") as worker,
            connected_peer("udp", worker.host, worker.port) as peer,
        ):
            yield Scene(worker, peer, agent)


async def record(scene: Scene, name: str) -> None:
    caller = Caller(scene.peer, name)
    known = len(scene.agent.calls)
    assert (await caller.ask(body=sdp(), headers=PLAIN)).status == 200
    await eventually(lambda: len(scene.agent.calls) > known)
    assert (await caller.ask("BYE")).status == 200


@pytest.mark.usefixtures("_no_collector")
@pytest.mark.parametrize("scheme", ["grpc", "grpc+aio"])
async def test_no_part_of_a_call_outlives_it(scheme: str) -> None:
    async with scene(scheme) as stage:
        for number in range(CALLS):
            await record(stage, f"call-{number}@test")
        async with asyncio.timeout(20):
            while alive():  # noqa: ASYNC110 - the AIs' streams end within moments
                await asyncio.sleep(0.05)
        assert len(stage.worker.worker.calls.ended()) == CALLS


async def test_a_call_that_is_over_shows_what_it_was() -> None:
    async with scene("grpc") as stage:
        await record(stage, "one@test")
        shown = await stage.worker.call("one@test")
    assert shown is not None
    assert (shown["state"], shown["ended_reason"]) == ("ended", "BYE")
    assert [leg["codecs"] for leg in shown["legs"]]
    assert shown["offer"]


async def test_what_is_remembered_of_a_call_is_small() -> None:
    async with scene("grpc") as stage:
        await record(stage, "one@test")
        (ended,) = stage.worker.worker.calls.ended()
    assert ended.octets < 2000
