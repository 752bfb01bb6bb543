"""Which calls of a recording client may move, by what this worker and the others know of it."""

from __future__ import annotations

from typing import Any

from siprec_worker.net.followers import Followers


class Pool:
    """What the other workers have found to follow no re-INVITE."""

    def __init__(self, *stays: bytes) -> None:
        self.stays = [*stays]
        self.told: list[tuple[str, int]] = []

    async def call(self, name: str, peer: str, seconds: int) -> list[bytes]:
        assert name == "vf_stays"
        self.told.append((peer, seconds))
        return self.stays


async def test_what_another_worker_says_of_a_client_does_not_hold_back_one_that_followed_here() -> (
    None
):
    pool: Any = Pool(b"stays")
    followers = Followers(pool)
    await followers.followed("follows")
    pool.stays.append(b"follows")  # one call of it did not, elsewhere
    await followers.learn()
    assert followers.may_follow("1", "follows")
    assert not followers.may_follow("2", "stays")


async def test_a_refusal_of_a_client_that_followed_before_holds_back_that_call_alone() -> None:
    pool: Any = Pool()
    followers = Followers(pool)
    await followers.followed("peer")
    await followers.refused("1", "peer")
    assert not followers.may_follow("1", "peer")
    assert followers.may_follow("2", "peer")
    assert pool.told == []


async def test_a_client_that_stays_is_told_to_all_and_forgotten_by_all_once_it_follows() -> None:
    pool: Any = Pool()
    followers = Followers(pool)
    await followers.refused("1", "peer")
    assert not followers.may_follow("2", "peer")
    await followers.followed("peer")
    assert followers.may_follow("2", "peer")
    assert [peer for peer, _ in pool.told] == ["peer", "peer"]
    assert pool.told[1][1] == 0


async def test_a_redis_that_is_away_costs_no_knowledge() -> None:
    class Away:
        async def call(self, *_: object) -> list[bytes]:
            raise TimeoutError

    away: Any = Away()
    followers = Followers(away)
    await followers.refused("1", "peer")
    assert not followers.may_follow("2", "peer")
