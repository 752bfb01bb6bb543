"""Two real workers behind a real OpenSIPS: calls are spread, and move when a worker goes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from voicefork_cli.lab.opensips import OpenSipsPlan
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.source import Tone

from tests.builders.moving_forks import TONE_HZ, until
from tests.opensips.house import House, open_house
from tests.opensips.mi import count
from tests.opensips.tables import make_database

CALLS = 6
MOVED_CALLS = CALLS // 2
BEAT_SAMPLES = 3200  # what an AI had of the time after a dead worker's last beat; with room
MOVED_SECONDS = 6.0  # a lease of 1.5 s, the probe of the owner, the re-INVITEs; with room


@pytest.fixture
async def house(lab: Lab, edge_plan: Callable[..., OpenSipsPlan]) -> AsyncIterator[House]:
    plan = edge_plan(database=make_database(lab.folder / "edge.db"))
    async with open_house(lab, plan, ("first", "second")) as house:
        yield house


@pytest.fixture
async def callers(house: House) -> AsyncIterator[list[CarrierCaller]]:
    async with AsyncExitStack() as opened:
        callers = []
        for index in range(CALLS):
            caller = await opened.enter_async_context(open_caller())
            await caller.dial(f"sip:+1415555010{index}@{house.edge.sip}", Tone(TONE_HZ))
            callers.append(caller)
        yield callers


async def test_calls_are_spread_evenly(house: House, callers: list[CarrierCaller]) -> None:
    first, second = house.workers
    await house.until(first, MOVED_CALLS, 5)
    await house.until(second, MOVED_CALLS, 5)
    assert await count(house.edge, "voicefork_pool_failures") == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
async def test_the_calls_of_a_worker_that_goes_are_the_others_and_end_there(
    house: House,
    callers: list[CarrierCaller],
    how: signal.Signals,
    request: pytest.FixtureRequest,
) -> None:
    first, second = house.workers
    await house.until(first, MOVED_CALLS, 5)
    await asyncio.sleep(1)  # they are stored
    loop = asyncio.get_running_loop()
    signalled = loop.time()
    first.program.signal(how)
    before = await house.until(second, CALLS, MOVED_SECONDS)
    shown = f"{MOVED_CALLS} calls moved {loop.time() - signalled:.1f} s after {how.name}"
    request.config.get_terminal_writer().line(f"\n{shown}")
    async with asyncio.timeout(25):
        code = await first.program.wait()
    assert how is signal.SIGKILL or code == 0
    await asyncio.sleep(1)
    after = await house.live(second)
    assert all(after[call] - packets >= 40 for call, packets in before.items())
    await house.hears_all()
    gaps = [gap for heard in house.ai.heard.values() for gap in heard.gaps]
    missing = sum(heard.missing() for heard in house.ai.heard.values())
    request.config.get_terminal_writer().line(f"samples the AI has not got: {missing}")
    assert house.ai.begun == CALLS
    told = sum(gap.to_pts - gap.from_pts for gap in gaps)
    assert missing <= told <= missing + MOVED_CALLS * BEAT_SAMPLES
    if how is signal.SIGTERM:
        assert missing == 0
        assert sum(heard.slips() for heard in house.ai.heard.values()) == 0
    for caller in callers:
        await caller.hang_up()
    await house.until(second, 0, 3)  # by BYE: silence would take longer


@pytest.fixture
async def caller(house: House) -> AsyncIterator[CarrierCaller]:
    """One call, which the AI hears, moved from the first worker to the second."""
    first, second = house.workers
    async with open_caller() as caller:
        await caller.dial(f"sip:+14155550100@{house.edge.sip}", Tone(TONE_HZ))
        (call,) = await house.until(first, 1, 5)
        await until(lambda: all(len(h.pieces) > 20 for h in house.ai.heard.values()))
        await asyncio.sleep(0.5)
        await house.hand_over(call)
        await house.until(first, 0, 3)
        await house.until(second, 1, 3)
        yield caller


async def test_hold_resume_and_bye_reach_the_owner_of_a_moved_call(
    house: House, caller: CarrierCaller
) -> None:
    _, second = house.workers
    await house.hears_all()
    await caller.hold()
    await asyncio.sleep(0.5)
    await caller.resume()
    await asyncio.sleep(0.5)
    await house.hears_all()
    assert await house.live(house.workers[0]) == {}
    await caller.hang_up()
    await house.until(second, 0, 3)
    (heard,) = house.ai.heard.values()
    await until(lambda: heard.closed, 1)  # it is on its way to the AI


async def test_without_redis_the_bye_of_a_moved_call_reaches_the_owner_by_the_former_worker(
    house: House, caller: CarrierCaller
) -> None:
    house.redis.program.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(1)
        await house.hears_all()
        await caller.hang_up()
        await house.until(house.workers[1], 0, 5)
    finally:
        house.redis.program.signal(signal.SIGCONT)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
async def test_a_moved_call_outlives_a_restart_of_opensips(
    house: House, caller: CarrierCaller, how: signal.Signals
) -> None:
    _, second = house.workers
    await asyncio.sleep(1)  # its dialogs are in the database
    await house.restart(how)
    await asyncio.sleep(3)  # it repeats its re-INVITEs
    await house.hears_all()
    await caller.hold()
    await asyncio.sleep(0.5)
    await caller.resume()
    await asyncio.sleep(0.5)
    await house.hears_all()
    assert len(await house.live(second)) == 1
    assert house.ai.begun == 1
    await caller.hang_up()
    await house.until(second, 0, 5)


async def test_a_call_that_ends_while_its_worker_is_dead_leaves_no_ghost(
    house: House, caller: CarrierCaller
) -> None:
    first, second = house.workers
    assert await house.forks_stored()
    second.program.signal(signal.SIGKILL)  # who has had it since it moved
    await asyncio.sleep(0.2)
    await caller.hang_up()  # its BYE finds nobody
    async with asyncio.timeout(10):
        while await house.forks_stored():  # noqa: ASYNC110 - asked, not told
            await asyncio.sleep(0.1)
    assert await house.live(first) == {}
