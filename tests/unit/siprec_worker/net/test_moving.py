"""Which calls of a recording client may move, by what this worker and the others know of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
from siprec_worker.net.moving import Moving
from siprec_worker.telemetry import Metrics

NOBODY: Any = None


class Pool:
    """What the other workers have found to follow no re-INVITE."""

    def __init__(self) -> None:
        self.stays = [b"stays"]

    async def call(self, name: str, peer: str, *_: object) -> list[bytes]:
        assert name == "vf_stays"
        return self.stays


def call_of(peer: str) -> Any:
    return SimpleNamespace(
        confirmed=True, suspended=False, ended_reason="", sip_call_id=f"1@{peer}", peer_host=peer,
        agents=(), conversation=SimpleNamespace(seats=()),
    )  # fmt: skip


async def test_what_another_worker_says_of_a_client_does_not_hold_back_one_that_followed_here() -> (
    None
):
    pool: Any = Pool()
    calls: Any = ()
    moving = Moving(
        *(pool, NOBODY, NOBODY, NOBODY, calls, Metrics(), NOBODY, NOBODY),
        grpc.aio.insecure_channel,
    )
    await moving._follows("follows")
    pool.stays.append(b"follows")  # one call of it did not, elsewhere
    await moving.move_all(asyncio.Event())
    assert moving.can_move(call_of("follows"))
    assert not moving.can_move(call_of("stays"))
