"""The caller hangs up at every single step of a handoff: nothing of it stays anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis as RedisClient
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.tones import write_tone
from voicefork_cli.measure.pcm import tone

from tests.e2e.ears import AGENT, INTRO, MUSIC, until_hears
from tests.e2e.switchboard import TENANT, Scene, Switchboard, asking, open_switchboard
from tests.e2e.watch import Watch
from tests.fakes.puppet_agent import story

pytestmark = pytest.mark.asyncio(loop_scope="module")

GONE_SECONDS = 10.0
FORGOTTEN_SECONDS = 15.0
LIFE_SECONDS = 24 * 3600
HUNG_UP = frozenset({pb.OUTCOME_CALLER_HUNG_UP})
TOGETHER = frozenset({pb.OUTCOME_CONNECTED})
QUEUED = frozenset({pb.OUTCOME_QUEUED})
ONE = ["PJSIP/agent-1"]


def rule(name: str, **actions: object) -> dict[str, object]:
    return {"name": name, "when": {"intent": [name]}, "targets": ONE, **actions}


RULES = {
    "default": {"pattern": "attended", "targets": ONE, "ring_seconds": 6},
    "rules": [
        rule("key", accept_key="1", accept_seconds=5),
        rule("briefing", pattern="warm_whisper", accept_key="1"),
        rule("told", phrases={"*": "sound:@SAID@"}),
        rule(
            "menu",
            fallbacks=["holding_menu"],
            menu={"announcement": "sound:@SAID@", "keys": {"1": "next_target"}},
        ),
        rule("queue", pattern="dialplan", fallbacks=[]),
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    said = stage_lab.folder / "said"
    write_tone(said.with_suffix(".wav"), INTRO, seconds=10)
    rules = json.loads(json.dumps(RULES).replace("@SAID@", str(said)))
    async with open_switchboard(stage_lab, rules) as board:
        yield board


def wanting(intent: str) -> pb.EscalateRequest:
    return asking(intent=intent, pattern=pb.PATTERN_AUTO)


# --- the steps ------------------------------------------------------------------------------


async def the_bots_last_phrase(scene: Scene) -> Watch:
    await scene.puppet.say("goodbye", INTRO, 2000)
    watch = await scene.escalate(asking(), say_first="goodbye")
    await until_hears(scene.caller, INTRO)
    return watch


async def the_first_moment(scene: Scene) -> Watch:
    scene.board.behave(status=None)
    return await scene.escalate_by_service(asking())


async def the_rules_phrase(scene: Scene) -> Watch:
    watch = await scene.escalate(wanting("told"))
    await until_hears(scene.caller, INTRO)
    return watch


async def the_music(scene: Scene) -> Watch:
    scene.board.behave(status=None)
    return await _until(scene, pb.PHASE_CALLER_HELD)


async def the_dialling(scene: Scene) -> Watch:
    scene.board.behave(status=None)
    return await _until(scene, pb.PHASE_DIALLING)


async def the_ringing(scene: Scene) -> Watch:
    scene.board.behave(status=None)
    watch = await _until(scene, pb.PHASE_RINGING)
    await until_hears(scene.caller, MUSIC)
    return watch


async def the_briefing(scene: Scene) -> Watch:
    context = story(account="4092")
    context.briefing_audio = tone(INTRO, 8000 * 4).tobytes()
    request = asking(intent="briefing", pattern=pb.PATTERN_AUTO, context=context)
    return await _until(scene, pb.PHASE_BRIEFING, request)


async def the_agents_answer(scene: Scene) -> Watch:
    return await _until(scene, pb.PHASE_ANSWERED, wanting("key"))


async def the_acceptance(scene: Scene) -> Watch:
    scene.board.behave(ring_seconds=0.3)
    return await _until(scene, pb.PHASE_ACCEPTED)


async def the_merge(scene: Scene) -> Watch:
    scene.board.behave(ring_seconds=0.3)
    return await _until(scene, pb.PHASE_MERGING)


async def the_conversation(scene: Scene) -> Watch:
    watch = await _until(scene, pb.PHASE_CONNECTED)
    await until_hears(scene.caller, AGENT)
    return watch


async def the_menu(scene: Scene) -> Watch:
    scene.board.behave(ring_seconds=0.0, status=486)
    watch = await scene.escalate(wanting("menu"))
    await until_hears(scene.caller, INTRO)
    return watch


async def the_way_to_the_queue(scene: Scene) -> Watch:
    return await scene.escalate_by_service(wanting("queue"))


async def the_queue(scene: Scene) -> Watch:
    watch = await scene.escalate(wanting("queue"))
    await scene.board.stage.wait_in_queue()
    return watch


async def _until(
    scene: Scene, phase: pb.Phase.ValueType, request: pb.EscalateRequest | None = None
) -> Watch:
    watch = await scene.escalate_by_service(request or asking())
    await watch.until(phase)
    return watch


# Joining lasts about 10 ms, and so does the way to the queue: the news may come too late.
STEPS: dict[Callable[[Scene], Awaitable[Watch]], frozenset[pb.Outcome.ValueType]] = {
    the_bots_last_phrase: HUNG_UP,
    the_first_moment: HUNG_UP,
    the_music: HUNG_UP,
    the_rules_phrase: HUNG_UP,
    the_dialling: HUNG_UP,
    the_ringing: HUNG_UP,
    the_briefing: HUNG_UP,
    the_agents_answer: HUNG_UP,
    the_acceptance: HUNG_UP | TOGETHER,
    the_merge: HUNG_UP | TOGETHER,
    the_conversation: TOGETHER,
    the_menu: HUNG_UP,
    the_way_to_the_queue: HUNG_UP | QUEUED,
    the_queue: QUEUED,
}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
async def test_a_caller_who_hangs_up_during(
    board: Switchboard, step: Callable[[Scene], Awaitable[Watch]]
) -> None:
    board.behave(ring_seconds=0.0)
    async with board.calling() as scene:
        watch = await step(scene)
        await scene.caller.hang_up()
        final = await watch.final()
        await scene.until_stands([], [])
        for call in scene.calls_to():
            await asyncio.wait_for(call.ended.wait(), GONE_SECONDS)
        assert final.outcome in STEPS[step]
        assert (await watch.settled()).outcome == final.outcome
        await assert_only_the_record_stays(scene, watch)


# --- what stays in Redis ------------------------------------------------------------------------


async def assert_only_the_record_stays(scene: Scene, watch: Watch) -> None:
    """How it went, for a day; nobody has the caller, and no replica the call."""
    handoff, call = watch.handoff_id, scene.call_id
    prefix = f"voicefork:v1:{TENANT}"
    record = {
        f"{prefix}:handoff:{handoff}",
        f"{prefix}:handoff:{handoff}:history",
        f"{prefix}:handoff-of:{call}",
        f"{prefix}:request:{call}:{watch.seen[-1].request_id}",
    }
    url = scene.board.stage.redis.url
    async with RedisClient.from_url(url, protocol=2, decode_responses=True) as store:
        kept: dict[str, int] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(FORGOTTEN_SECONDS):
                while (kept := await _named(store, handoff, call)).keys() != record:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert kept.keys() == record
        assert all(0 < life <= LIFE_SECONDS for life in kept.values()), kept
        async with asyncio.timeout(FORGOTTEN_SECONDS):
            while await _is_somebodys(store, call):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def _is_somebodys(store: RedisClient, call: str) -> bool:
    """Whether any replica has the call in its book."""
    for book in await store.keys("voicefork:v1:calls:*"):
        found: Any = store.hexists(str(book), call)
        if await found:
            return True
    return False


async def _named(store: RedisClient, *ids: str) -> dict[str, int]:
    """Keys that name one of these, with the seconds they still have; -1 = for ever."""
    keys = [str(key) for key in await store.keys("*")]
    return {key: await store.ttl(key) for key in keys if any(each in key for each in ids)}
