"""A worker's own way to the queue: when it is taken, how often, and what becomes of failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from siprec_worker.net.ari_escape import AriEscape, Result, open_nodes
from siprec_worker.net.ari_node import QueuePlace
from siprec_worker.session import effects as fx
from siprec_worker.session.model import Escalate
from siprec_worker.telemetry import Metrics

from tests.fakes.ari_node import PASSWORD, USER, FakeAriNode, open_ari_node

CALL, NODE = "call-1", "asterisk-1"
PATIENCE = 0.05
PLACE = QueuePlace("voicefork-queue", "s")
TO_QUEUE = "continue s@voicefork-queue"


@dataclass
class Scene:
    """An escape with a caller at a node."""

    node: FakeAriNode
    escape: AriEscape
    metrics: Metrics
    escaped: list[tuple[str, str]] = field(default_factory=list)

    def escalate(self, request_id: str = "r1") -> None:
        self.escape.report(CALL, Escalate(request_id, "", False, b""))

    def results(self, result: Result) -> float:
        return (
            self.metrics.registry.get_sample_value(
                "voicefork_worker_escapes_total", {"result": result.value}
            )
            or 0.0
        )

    async def until(self, check: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not check():  # noqa: ASYNC110 - what is waited for is another server's memory
                await asyncio.sleep(0.005)

    async def until_result(self, result: Result) -> None:
        await self.until(lambda: self.results(result))


@asynccontextmanager
async def scene(
    password: str = PASSWORD,
    retries: tuple[float, ...] = (0.02, 0.02),
    nodes: tuple[str, ...] = (NODE,),
    place: QueuePlace = PLACE,
) -> AsyncIterator[Scene]:
    async with open_ari_node() as node:
        urls = dict.fromkeys(nodes, node.url)
        async with open_nodes(urls, USER, password) as opened:
            metrics, escaped = Metrics(), list[tuple[str, str]]()
            escape = AriEscape(
                opened,
                place,
                metrics,
                lambda call, request: escaped.append((call, request)),
                patience=PATIENCE,
                retries=retries,
            )
            escape.channel_known(CALL, NODE, "caller")
            try:
                yield Scene(node, escape, metrics, escaped)
            finally:
                await escape.aclose()


async def quiet() -> None:
    await asyncio.sleep(4 * PATIENCE)


async def test_an_escalation_nobody_acknowledges_brings_music_and_then_the_queue() -> None:
    async with scene() as stage:
        stage.escalate()
        await stage.until(lambda: stage.escaped)
        commands = [r for r in stage.node.requests if not r.startswith("GET")]
    assert commands == [
        "POST channels/caller/moh",
        f"POST channels/caller/{TO_QUEUE}",
        "DELETE channels/bot",
        "DELETE bridges/b1",
    ]
    assert stage.escaped == [(CALL, "r1")]
    assert stage.results(Result.ESCAPED) == 1


async def test_other_peoples_channels_in_the_bridge_are_left_alone() -> None:
    async with scene() as stage:
        stage.node.channels["agent"] = "PJSIP/agent-1"
        stage.node.bridges["b1"].append("agent")
        stage.escalate()
        await stage.until(lambda: stage.escaped)
        assert "agent" in stage.node.channels


async def test_an_acknowledged_escalation_is_left_to_the_orchestrator() -> None:
    async with scene() as stage:
        stage.escalate()
        stage.escape.acknowledged(CALL, "r1")
        await quiet()
        assert stage.node.requests == []


async def test_another_calls_acknowledgement_is_not_ours() -> None:
    async with scene() as stage:
        stage.escalate()
        stage.escape.acknowledged("call-2", "r1")
        stage.escape.acknowledged(CALL, "r2")
        await stage.until(lambda: stage.escaped)


async def test_an_ai_that_fails_unheard_is_escaped_from_as_well() -> None:
    async with scene() as stage:
        stage.escape.report(CALL, fx.BotFailed("lost"))
        await stage.until(lambda: stage.escaped)
    assert stage.escaped == [(CALL, "")]


async def test_a_caller_escapes_once_however_often_the_ai_asks() -> None:
    async with scene() as stage:
        for request_id in ("r1", "r1", "r2", *map(str, range(20))):
            stage.escalate(request_id)
        await stage.until(lambda: stage.escaped)
        stage.escalate("r3")
        await quiet()
        assert stage.node.asked(TO_QUEUE) == 1
        assert len(stage.escaped) == 1


async def test_a_late_acknowledgement_undoes_nothing() -> None:
    async with scene() as stage:
        stage.escalate()
        await stage.until(lambda: stage.escaped)
        stage.escape.acknowledged(CALL, "r1")
        await quiet()
        assert stage.node.asked(TO_QUEUE) == 1


async def test_a_caller_whom_the_orchestrator_took_away_is_not_moved() -> None:
    async with scene() as stage:
        stage.escalate()
        stage.escape.left_bot(CALL)
        await quiet()
        assert stage.node.requests == []


async def test_a_caller_who_came_back_to_the_bot_may_escape_again() -> None:
    async with scene() as stage:
        stage.escalate()
        await stage.until(lambda: stage.escaped)
        stage.escape.channel_known(CALL, NODE, "caller")
        stage.escalate("r2")
        await stage.until(lambda: len(stage.escaped) == 2)


async def test_a_caller_who_hung_up_is_no_failure() -> None:
    async with scene() as stage:
        del stage.node.channels["caller"]
        stage.escalate()
        await stage.until_result(Result.CALLER_GONE)
        assert stage.escaped == []


@pytest.mark.parametrize("what", ["moh", "continue", "bridges"])
async def test_what_fails_is_tried_again_and_succeeds(what: str) -> None:
    async with scene(retries=(0.02,) * 50) as stage:
        stage.node.refuse = {what: 500}
        stage.escalate()
        await stage.until(lambda: stage.node.asked(what) >= 2)
        stage.node.refuse = {}
        await stage.until(lambda: stage.escaped)
        assert stage.node.asked(TO_QUEUE) == 1


async def test_attempts_are_bounded_and_the_failure_is_counted() -> None:
    async with scene(password="wrong") as stage:
        stage.escalate()
        await stage.until_result(Result.FAILED)
        await quiet()
        assert stage.node.asked("moh") == 3
        errors = stage.metrics.registry.get_sample_value("voicefork_worker_escape_errors_total")
    assert errors == 3
    assert stage.escaped == []


async def test_after_a_failure_the_next_escalation_is_tried() -> None:
    async with scene() as stage:
        stage.node.refuse = {"moh": 500}
        stage.escalate()
        await stage.until_result(Result.FAILED)
        stage.node.refuse = {}
        stage.escalate("r2")
        await stage.until(lambda: stage.escaped)


async def test_an_acknowledgement_between_two_attempts_ends_them() -> None:
    async with scene(retries=(5.0,)) as stage:
        stage.node.refuse = {"continue": 500}
        stage.escalate()
        await stage.until(lambda: stage.node.asked("continue"))
        stage.escape.acknowledged(CALL, "r1")
        await stage.until_result(Result.TAKEN)
        assert stage.escaped == []


async def test_nobody_is_sent_to_a_place_that_does_not_exist() -> None:
    async with scene(place=QueuePlace("nowhere", "s")) as stage:
        stage.escalate()
        await stage.until_result(Result.FAILED)
        assert stage.node.asked("moh") == 3  # music all the same
        assert not any("continue" in request for request in stage.node.requests)


async def test_without_a_channel_there_is_no_way() -> None:
    async with scene() as stage:
        stage.escape.report("call-2", Escalate("r1", "", False, b""))
        await stage.until_result(Result.NO_CHANNEL)


async def test_a_node_that_is_not_named_is_the_default_one() -> None:
    async with scene(nodes=("",)) as stage:
        stage.escalate()
        await stage.until(lambda: stage.escaped)


async def test_a_node_that_nobody_knows_is_a_failure() -> None:
    async with scene(nodes=("another",)) as stage:
        stage.escalate()
        await stage.until_result(Result.FAILED)


async def test_an_asterisk_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("siprec_worker.net.ari_node.REQUEST_SECONDS", 0.05)
    async with scene() as stage:
        stage.node.stalls = True
        stage.escalate()
        await stage.until_result(Result.FAILED)


async def test_closing_ends_what_still_waits() -> None:
    async with scene() as stage:
        stage.escalate()
        await stage.escape.aclose()
        await quiet()
        assert stage.node.requests == []
