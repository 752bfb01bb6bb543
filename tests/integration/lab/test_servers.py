"""Redis and rtpengine start, answer and end."""

from __future__ import annotations

import asyncio
import signal

import pytest
import redis.asyncio
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.lab.redis import open_redis
from voicefork_cli.lab.rtpengine import open_rtpengine


async def test_redis_answers_and_keeps_nothing() -> None:
    async with open_lab() as lab:
        async with open_redis(lab) as server:
            client = redis.asyncio.from_url(server.url)
            await client.set("key", "value")
            assert await client.get("key") == b"value"
            await client.aclose()
        assert not list(lab.folder.glob("*.rdb"))
        async with open_redis(lab) as server:
            client = redis.asyncio.from_url(server.url)
            assert await client.get("key") is None
            await client.aclose()


async def test_rtpengine_answers_its_control_protocol() -> None:
    async with open_lab() as lab, open_rtpengine(lab) as rtpengine:
        assert await rtpengine.request(b"d7:command4:pinge") == b"d6:result4:ponge"


async def test_several_servers_run_side_by_side() -> None:
    async with (
        open_lab() as one,
        open_lab() as other,
        open_redis(one) as first,
        open_redis(other) as second,
    ):
        assert first.port != second.port


async def test_a_killed_server_is_seen() -> None:
    async with open_lab() as lab, open_redis(lab) as server:
        server.program.signal(signal.SIGKILL)
        async with asyncio.timeout(20):
            assert await server.program.wait() == -signal.SIGKILL
        client = redis.asyncio.from_url(server.url)
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.ping()
        await client.aclose()
