"""The pool's functions (pool.lua) on a real redis-server, as a library and as a script."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import redis.asyncio as redis
from siprec_worker.net.pool import Pool
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis

LEASE_MS = 1200  # pool.lua
PLACE_KEYS = ("voicefork:pool:places", "voicefork:pool:placed", "voicefork:pool:pending")


@dataclass
class Workers:
    """Workers as the pool knows them, and what a test asks of it."""

    pool: Pool
    client: redis.Redis
    loads: dict[str, int] = field(default_factory=dict)

    async def beat(self, worker: str, *taken: str, **given: object) -> list[object]:
        load = int(str(given.get("load", self.loads.get(worker, 0))))
        self.loads[worker] = load
        reply: list[object] = await self.pool.call(
            "vf_beat",
            worker,
            uri(worker),
            str(given.get("zone", "a")),
            load,
            int(str(given.get("capacity", 100))),
            int(bool(given.get("draining", False))),
            f"{worker}:9000",
            *taken,
        )
        return reply

    async def pick(self, call_id: str, n: int = 3, zone: str = "a", **ttl: int) -> list[str]:
        answer: bytes = await self.pool.call("vf_pick", n, zone, call_id, *ttl.values())
        return [one for one in answer.decode().split(",") if one]

    async def places(self) -> int:
        return sum([await self.client.exists(key) for key in PLACE_KEYS])


def uri(worker: str) -> str:
    return f"sip:{worker}:5080;transport=tcp"


@pytest.fixture(params=["library", "script"])
async def workers(request: pytest.FixtureRequest, lab: Lab) -> AsyncIterator[Workers]:
    async with open_redis(lab) as server:
        client = redis.Redis.from_url(server.url, protocol=2)
        pool = Pool(client, 2.0, library=request.param == "library")
        await pool.load()
        yield Workers(pool, client)
        await client.aclose()


async def test_calls_are_spread_within_five_percent_of_even(workers: Workers) -> None:
    names = [f"w{i}" for i in range(4)]
    given = random.Random(6)
    for name in names:
        await workers.beat(name, capacity=1000)
    live: list[str] = []
    arrived: dict[str, list[str]] = {name: [] for name in names}
    for number in range(1200):
        first = (await workers.pick(f"call-{number}"))[0]
        worker = first.split(":")[1]
        workers.loads[worker] += 1
        arrived[worker].append(f"call-{number}")
        live.append(worker)
        if len(live) > 600:  # calls end in any order
            workers.loads[live.pop(given.randrange(len(live)))] -= 1
        if not number % 30:  # their beats are late, as always
            for name in names:
                await workers.beat(name, *arrived[name], capacity=1000)
                arrived[name].clear()
    share = Counter(live)
    assert all(abs(share[name] - 150) <= 7.5 for name in names), share


async def test_a_worker_of_twice_the_size_gets_twice_the_calls(workers: Workers) -> None:
    await workers.beat("small", capacity=100)
    await workers.beat("big", capacity=200)
    firsts = Counter([(await workers.pick(f"call-{i}"))[0] for i in range(150)])
    assert abs(firsts[uri("big")] - 100) <= 5


async def test_a_fresh_worker_is_not_overrun(workers: Workers) -> None:
    await workers.beat("old", load=10)
    await workers.beat("fresh", load=0)
    firsts = Counter([(await workers.pick(f"call-{i}"))[0] for i in range(30)])
    assert abs(firsts[uri("fresh")] - 20) <= 1


async def test_the_answer_names_the_least_loaded_in_order(workers: Workers) -> None:
    for name, load in (("w1", 30), ("w2", 10), ("w3", 20), ("w4", 40)):
        await workers.beat(name, load=load)
    assert await workers.pick("call", n=3) == [uri("w2"), uri("w3"), uri("w1")]


async def test_a_query_that_is_sent_twice_takes_one_place(workers: Workers) -> None:
    await workers.beat("w1")
    await workers.beat("w2")
    first = await workers.pick("call-1")
    assert await workers.pick("call-1") == first
    assert await workers.client.zcard("voicefork:pool:places") == 1


async def test_a_place_ends_when_its_call_arrives(workers: Workers) -> None:
    await workers.beat("w1")
    await workers.pick("call-1")
    assert await workers.places() == 3
    await workers.beat("w1", "call-1", "never-picked", load=1)
    assert await workers.places() == 0


async def test_a_place_ends_by_itself_when_no_call_comes(workers: Workers) -> None:
    await workers.beat("w1", capacity=1)
    await workers.pick("call-1", ttl=1000)
    assert await workers.pick("call-2") == []
    async with asyncio.timeout(20):
        while await workers.pick("call-2") != [uri("w1")]:
            await asyncio.sleep(0.1)
            await workers.beat("w1", capacity=1)


async def test_no_place_is_left_when_all_is_over(workers: Workers) -> None:
    given = random.Random(1)
    await workers.beat("w1", capacity=10_000)
    await workers.beat("w2", capacity=10_000)
    for number in range(500):
        await workers.pick(f"call-{number % 300}", ttl=300)
        if given.random() < 0.2:
            await workers.beat(given.choice(("w1", "w2")), f"call-{given.randrange(300)}")
    await asyncio.sleep(0.35)
    await workers.beat("w1")
    assert await workers.places() == 0


async def test_a_dead_worker_is_out_within_two_seconds(workers: Workers) -> None:
    before = time.monotonic()
    await workers.beat("dead")
    beaten = asked = time.monotonic()
    while True:
        await workers.beat("live", load=50)
        asking = time.monotonic()
        if uri("dead") not in await workers.pick("-"):
            break
        asked = asking  # then, or after it, it was still named
        await asyncio.sleep(0.05)
    assert time.monotonic() - before > 1.5
    assert asked - beaten <= 2.0


async def test_a_place_on_a_worker_that_leaves_is_given_anew(workers: Workers) -> None:
    await workers.beat("w1")
    await workers.beat("w2", load=50)
    assert (await workers.pick("call-1"))[0] == uri("w1")
    await workers.beat("w1", draining=True)
    assert await workers.pick("call-1") == [uri("w2")]


async def test_a_draining_worker_gets_nothing(workers: Workers) -> None:
    await workers.beat("w1", draining=True)
    await workers.beat("w2", load=99)
    assert await workers.pick("call") == [uri("w2")]


async def test_a_full_worker_gets_nothing(workers: Workers) -> None:
    await workers.beat("w1", load=100)
    assert await workers.pick("call") == []


async def test_workers_of_the_zone_come_first(workers: Workers) -> None:
    await workers.beat("near", zone="a", load=90)
    await workers.beat("far", zone="b", load=0)
    assert await workers.pick("call-1", zone="a") == [uri("near"), uri("far")]
    assert await workers.pick("call-2", zone="b") == [uri("far"), uri("near")]
    assert await workers.pick("call-3", zone="-") == [uri("far"), uri("near")]


async def test_the_heir_of_a_fork_is_another_worker_with_room(workers: Workers) -> None:
    await workers.beat("w1")
    assert await workers.pool.call("vf_heir", "w1", "-", "B2B.1") == []
    await workers.beat("w2", load=20)
    await workers.beat("w3", load=10)
    assert await workers.pool.call("vf_heir", "w1", "-", "B2B.1") == [b"w3", b"w3:9000"]
    await workers.beat("w3", "B2B.1", load=11)
    assert await workers.places() == 0


async def test_the_workers_can_be_listed(workers: Workers) -> None:
    await workers.beat("w1", load=7, draining=True)
    listed = await workers.pool.call("vf_workers")
    assert listed[:7] == [b"w1", uri("w1").encode(), b"a", 7, 100, 1, b"w1:9000"]


async def test_the_owner_of_a_dialog_is_known_until_it_ends(workers: Workers) -> None:
    await workers.beat("w1")
    assert await workers.pool.call("vf_owner", "B2B.1") == b""
    assert await workers.pool.call("vf_put", "w1", "B2B.1", 0, b"state") == 1
    assert await workers.pool.call("vf_owner", "B2B.1") == uri("w1").encode()
    assert await workers.client.get("fork:owner:B2B.1") == uri("w1").encode()
    await workers.pool.call("vf_end", "w1", "B2B.1", 1)
    assert await workers.pool.call("vf_owner", "B2B.1") == b""
    assert await workers.client.keys("*B2B.1*") == []


async def test_who_does_not_hold_the_fence_cannot_write(workers: Workers) -> None:
    await workers.beat("w1")
    await workers.beat("w2")
    fence = await workers.pool.call("vf_put", "w1", "B2B.1", 0, b"first")
    assert await workers.pool.call("vf_hand", "w1", "B2B.1", fence, "w2") == [2, b"first"]
    assert await workers.pool.call("vf_put", "w1", "B2B.1", fence, b"late") == 0
    assert await workers.pool.call("vf_put", "w2", "B2B.1", 2, b"second") == 2
    assert await workers.pool.call("vf_end", "w1", "B2B.1", fence) == 0
    assert await workers.pool.call("vf_owner", "B2B.1") == uri("w2").encode()


async def test_who_gets_a_fork_may_say_how_it_stands_by_now(workers: Workers) -> None:
    await workers.beat("w1")
    await workers.beat("w2")
    fence = await workers.pool.call("vf_put", "w1", "B2B.1", 0, b"first")
    handed = await workers.pool.call("vf_hand", "w1", "B2B.1", fence, "w2", b"by now")
    assert handed == [2, b"by now"]
    assert await workers.pool.call("vf_hand", "w1", "B2B.1", fence, "w2", b"late") == []
    assert await workers.client.hget("voicefork:pool:fork:B2B.1", "state") == b"by now"


async def test_a_fork_that_was_handed_over_without_redis_is_its_new_owners(
    workers: Workers,
) -> None:
    await workers.beat("w1")
    await workers.beat("w2")
    fence = await workers.pool.call("vf_put", "w1", "B2B.1", 0, b"first")
    assert await workers.pool.call("vf_put", "w2", "B2B.1", fence + 1, b"second") == fence + 1
    assert await workers.pool.call("vf_owner", "B2B.1") == uri("w2").encode()
    assert await workers.pool.call("vf_put", "w1", "B2B.1", fence, b"late") == 0
    assert (await workers.beat("w1"))[1] == 0
    await workers.pool.call("vf_end", "w2", "B2B.1", fence + 1)
    assert await workers.client.keys("*B2B.1*") == []


async def test_the_forks_of_a_dead_worker_can_be_claimed_once(workers: Workers) -> None:
    for name in ("dead", "w1", "w2"):
        await workers.beat(name)
    for number in range(10):
        await workers.pool.call("vf_put", "dead", f"B2B.{number}", 0, f"state {number}")
    assert await workers.pool.call("vf_claim", "w1", "dead", 10) == [0]  # it may live
    await asyncio.sleep(1.6)
    await workers.beat("w1")
    reply = await workers.beat("w2")
    assert reply[3] == [b"dead", b"dead:9000"]
    first = await workers.pool.call("vf_claim", "w1", "dead", 4)
    second = await workers.pool.call("vf_claim", "w2", "dead", 10)
    assert first[0] >= 1200
    assert len({*first[1::3], *second[1::3]}) == 10
    assert set(first[2::3]) == {2}
    assert (await workers.beat("w1"))[1:4] == [4, [], []]
    awake = await workers.beat("dead")  # it was only asleep: now it learns what it has lost
    assert len(awake[2]) == 10  # type: ignore[arg-type]


async def test_a_redis_that_has_forgotten_all_takes_the_forks_again(workers: Workers) -> None:
    await workers.beat("w1")
    fence = await workers.pool.call("vf_put", "w1", "B2B.1", 0, b"state")
    await workers.client.flushall()
    await workers.client.script_flush()
    await workers.client.function_flush()
    assert (await workers.beat("w1"))[1] == 0
    assert await workers.pool.call("vf_put", "w1", "B2B.1", fence, b"state") == fence
    assert await workers.pool.call("vf_owner", "B2B.1") == uri("w1").encode()


async def test_a_beat_tells_when_a_late_workers_lease_runs_out(workers: Workers) -> None:
    before = time.monotonic()
    await workers.beat("late")
    beaten = time.monotonic()
    assert (await workers.beat("w1"))[4] == 0
    await asyncio.sleep(0.7)
    asked = time.monotonic()
    left = (await workers.beat("w1"))[4]
    assert isinstance(left, int)
    least = LEASE_MS - (time.monotonic() - before) * 1000
    assert least - 2 <= left <= LEASE_MS - (asked - beaten) * 1000 + 2  # whole milliseconds
    await asyncio.sleep(left / 1000)
    assert (await workers.beat("w1"))[4] == 0


async def test_workers_share_which_clients_follow_no_reinvite(workers: Workers) -> None:
    async def ask(*arguments: str | int) -> list[bytes]:
        known: list[bytes] = await workers.pool.call("vf_stays", *arguments)
        return known

    assert await ask("-") == []
    assert await ask("10.0.0.1", 60) == [b"10.0.0.1"]
    assert sorted(await ask("10.0.0.2", 0)) == [b"10.0.0.1"]
    assert await ask("-") == [b"10.0.0.1"]
    for number in range(1010):
        await ask(f"peer-{number}", 1000 + number)
    assert len(await ask("-")) == 1000
