"""A carrier call that is forked, heard and answered by an AI, through every real program.

The caller sounds 440 Hz, the bot 1000 (its first words 1600), music 350: who hears whom is proved
by frequency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from voicefork_cli.lab.ours import Service
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.source import Tone

from tests.e2e.alone import assert_never_alone
from tests.e2e.ears import (
    BOT,
    CALLER,
    INTRO,
    MUSIC,
    heard_between,
    hears_only,
    share,
    tones,
    until_hears,
)
from tests.e2e.stage import DEFAULT, GONE_SECONDS, Guest, Stage, open_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANY, BOTH_LEGS, SLOW, NEVER, SILENT = (f"+1415555010{n}" for n in range(5))
FORK_FIRST, MUSIC_EXTENSION, ECHO_EXTENSION = "910", "901", "900"
SLOW_SECONDS = 2.5
AHEAD_SECONDS = 2.0  # as tone_agent.py does it
GUESTS = {
    DEFAULT: Guest(),
    "both": Guest(("--legs", "both"), (BOTH_LEGS,)),
    "slow": Guest(("--open-after", str(SLOW_SECONDS)), (SLOW,)),
    "never": Guest(("--never-open",), (NEVER,)),
    "silent": Guest(("--silent",), (SILENT,)),
    "shadow": Guest(),
    "plain": Guest((), (MUSIC_EXTENSION, ECHO_EXTENSION), shadow="shadow"),
}


@dataclass(frozen=True, slots=True)
class House:
    """The stage with orchestrator, worker and edge."""

    stage: Stage
    orchestrator: Service
    worker: Service
    edge: Edge

    @asynccontextmanager
    async def calling(
        self, number: str = ANY, edge: Edge | None = None
    ) -> AsyncIterator[CarrierCaller]:
        """A caller whose call has been answered; it is hung up at the end, and nothing is left."""
        async with open_caller() as caller:
            await self.dial(caller, number, edge)
            yield caller
        await self.stage.wait_empty(self.orchestrator, self.worker)

    async def dial(
        self, caller: CarrierCaller, number: str = ANY, edge: Edge | None = None
    ) -> None:
        await caller.dial((edge or self.edge).uri.replace("sip:", f"sip:{number}@"), Tone(CALLER))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(stage_lab: Lab) -> AsyncIterator[House]:
    async with AsyncExitStack() as opened:
        stage = await opened.enter_async_context(open_stage(stage_lab, GUESTS))
        orchestrator = await opened.enter_async_context(stage.orchestrator())
        worker = await opened.enter_async_context(stage.worker(orchestrator))
        edge = await opened.enter_async_context(stage.edge(worker))
        yield House(stage, orchestrator, worker, edge)


def answered_ns(caller: CarrierCaller) -> int:
    assert caller.answered_ns is not None
    return caller.answered_ns


@dataclass(frozen=True, slots=True)
class Talk:
    """An ordinary call, as its three ears heard it."""

    caller: CarrierCaller
    bot_from_ns: int
    bot_hears: dict[str, list[frozenset[int]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(house: House) -> Talk:
    diary = house.stage.diary(DEFAULT)
    async with house.calling() as caller:
        bot_from = await until_hears(caller, BOT)
        await diary.wait_for_seconds_of("CUSTOMER", 3.0)
    return Talk(caller, bot_from, {leg: diary.tones_of(leg) for leg in ("CUSTOMER", "PBX")})


async def test_the_caller_hears_the_bot_alone(talk: Talk) -> None:
    assert talk.caller.ended_ns is not None
    heard = heard_between(talk.caller, talk.bot_from_ns, talk.caller.ended_ns)
    assert len(heard) > 75
    assert share(heard, BOT) == 1.0


async def test_the_bot_hears_the_caller_alone_and_never_itself(talk: Talk) -> None:
    assert talk.bot_hears["PBX"] == []
    assert hears_only(talk.bot_hears["CUSTOMER"], CALLER)


async def test_from_the_200_ok_on_the_caller_is_never_alone(talk: Talk) -> None:
    assert talk.caller.ended_ns is not None
    assert_never_alone(talk.caller, answered_ns(talk.caller), talk.caller.ended_ns)


async def test_a_bot_that_asks_for_both_legs_hears_itself_on_the_pbx_leg_only(house: House) -> None:
    diary = house.stage.diary("both")
    async with house.calling(BOTH_LEGS) as caller:
        await until_hears(caller, BOT)
        spoke = time.time()
        await diary.wait_for_seconds_of("PBX", 3.0)
    late = [line for line in diary.of("heard") if line["t"] > spoke + 0.5]
    for leg, hz in (("CUSTOMER", CALLER), ("PBX", BOT)):
        assert hears_only([frozenset(one["hz"]) for one in late if one["leg"] == leg], hz)


async def test_a_fork_that_is_there_before_the_pbx_waits_for_it(house: House) -> None:
    stage = house.stage
    async with house.calling(FORK_FIRST) as caller:
        async with asyncio.timeout(GONE_SECONDS):
            while not await stage.calls_of_worker(house.worker):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await stage.calls_of_orchestrator(house.orchestrator) == []
        await until_hears(caller, BOT)


async def test_a_fork_that_comes_after_the_pbx_is_waited_for_with_music(house: House) -> None:
    stage, found = house.stage, asyncio.Event()
    async with (
        stage.edge(house.worker, fork_when=found) as edge,
        house.calling(edge=edge) as caller,
    ):
        await until_hears(caller, MUSIC)
        assert await stage.calls_of_worker(house.worker) == []
        assert len(await stage.calls_of_orchestrator(house.orchestrator)) == 1
        forked = time.time_ns()
        found.set()
        bot_from = await until_hears(caller, BOT)
        waiting = heard_between(caller, answered_ns(caller), forked)
        assert share(waiting[2:], MUSIC) == 1.0
        assert_never_alone(caller, answered_ns(caller), time.time_ns())
    assert bot_from > forked


async def test_an_ai_that_opens_late_is_waited_for_with_music_and_none_of_its_words_is_covered(
    house: House,
) -> None:
    async with house.calling(SLOW) as caller:
        bot_from = await until_hears(caller, BOT)
        assert_never_alone(caller, answered_ns(caller), time.time_ns())
    before = tones(heard_between(caller, answered_ns(caller), bot_from))
    first_words = [each for each in before if INTRO in each]
    assert first_words == [frozenset({INTRO})] * 10  # 200 ms, whole, and nothing over it
    assert sum(MUSIC in each for each in before) > 0.8 * SLOW_SECONDS * 50


@pytest.mark.parametrize(
    ("number", "deadline"),
    [pytest.param(NEVER, 3.0, id="never opens"), pytest.param(SILENT, 5.0, id="says nothing")],
)
async def test_the_caller_of_an_ai_that_fails_waits_in_the_queue(
    house: House, number: str, deadline: float
) -> None:
    async with house.calling(number) as caller:
        await house.stage.wait_in_queue(deadline + GONE_SECONDS)
        await until_hears(caller, MUSIC)
        whole = heard_between(caller, answered_ns(caller), time.time_ns())
        assert share(whole[2:], MUSIC) > 0.98
        assert_never_alone(caller, answered_ns(caller), time.time_ns())


async def test_a_call_on_a_plain_extension_has_no_primary(house: House) -> None:
    primary = house.stage.diary("plain")
    async with house.calling(ECHO_EXTENSION) as caller:
        await until_hears(caller, CALLER)
        await asyncio.sleep(2.5)  # longer than a bot is waited for
        call = (await house.stage.calls_of_worker(house.worker))[0]
        admin = house.worker.addresses["admin"]
        seats = (await house.stage.listed(f"http://{admin}/calls/{call['call_id']}"))["agents"]
    assert primary.of("open") == []
    assert {seat["role"]: seat["stage"] for seat in seats} == {
        "primary": "waiting",
        "shadow": "open",
    }


async def test_a_shadow_on_a_plain_extension_hears_both_legs(house: House) -> None:
    shadow = house.stage.diary("shadow")
    async with house.calling(MUSIC_EXTENSION):
        await shadow.wait_for_seconds_of("PBX", 2.0)
    assert hears_only(shadow.tones_of("CUSTOMER"), CALLER)
    assert hears_only(shadow.tones_of("PBX"), MUSIC)
    assert (await shadow.wait_for("open"))["role"] == "SHADOW"
    assert (await shadow.wait_for("close"))["reason"] == "CALL_ENDED"


async def test_a_key_reaches_the_ai_once_with_how_long_it_was_held(house: House) -> None:
    diary = house.stage.diary(DEFAULT)
    async with house.calling() as caller:
        await until_hears(caller, BOT)
        await caller.press("5", duration_ms=200)
        await caller.press("7", duration_ms=100)
        await diary.wait_for("dtmf", lambda line: line["digit"] == "7")
        await asyncio.sleep(0.3)
    keys = [(line["leg"], line["digit"], line["duration_ms"]) for line in diary.of("dtmf")]
    assert keys == [("CUSTOMER", "5", 200), ("CUSTOMER", "7", 100)]


async def test_a_caller_who_hangs_up_leaves_nothing_behind(house: House) -> None:
    diary = house.stage.diary(DEFAULT)
    async with house.calling() as caller:
        await until_hears(caller, BOT)
        await caller.hang_up()
        assert (await diary.wait_for("close"))["reason"] == "CALL_ENDED"
        await house.stage.wait_empty(house.orchestrator, house.worker)


async def test_a_bot_that_hangs_up_leaves_nothing_behind(house: House) -> None:
    diary = house.stage.diary(DEFAULT)
    async with house.calling() as caller:
        await until_hears(caller, BOT)
        await caller.press("#")
        async with asyncio.timeout(GONE_SECONDS):
            await caller.ended.wait()
        assert (await diary.wait_for("close"))["reason"] == "CALL_ENDED"
        await house.stage.wait_empty(house.orchestrator, house.worker)


async def test_an_ai_that_fails_in_mid_call_costs_the_caller_nothing_but_the_bot(
    house: House,
) -> None:
    async with house.calling() as caller:
        await until_hears(caller, BOT)
        await caller.press("0")
        await until_hears(caller, MUSIC)
        await house.stage.wait_in_queue()
        assert_never_alone(caller, answered_ns(caller), time.time_ns())


async def test_a_clear_is_heard_before_what_was_sent_ahead_has_been(house: House) -> None:
    """The AI is AHEAD_SECONDS ahead: without the clear its tone went on for as long."""
    diary = house.stage.diary(DEFAULT)
    async with house.calling() as caller:
        await until_hears(caller, BOT)
        await asyncio.sleep(AHEAD_SECONDS)
        await caller.press("*")
        cleared = int((await diary.wait_for("cleared"))["t"] * 1e9)
        await asyncio.sleep(AHEAD_SECONDS)
        late = heard_between(caller, cleared + round(AHEAD_SECONDS / 2 * 1e9), time.time_ns())
    assert not any(BOT in each for each in tones(late))
