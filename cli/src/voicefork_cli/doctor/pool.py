"""Redis: there, new enough, told to forget nothing; the pool of workers in it."""

from __future__ import annotations

from urllib.parse import urlsplit

from redis.asyncio import Redis

from voicefork_cli.doctor.finding import Finding, found
from voicefork_cli.doctor.places import Places

LIBRARY = "voicefork"
FUNCTIONS_SINCE = 7  # older ones run the same code as a script
OLDEST = 6
LISTED, DRAINING = 8, 5  # values of one worker in vf_workers' reply; the place of one of them
ANSWER_SECONDS = 3.0


async def look_at_redis(places: Places) -> list[Finding]:
    if not places.redis:
        return []
    where = urlsplit(places.redis)
    advice = (
        f"no Redis is reached at {where.hostname}:{where.port or 6379}: address, password, TLS?"
    )
    return await found("redis", advice, lambda: _redis(places.redis))


async def _redis(url: str) -> list[Finding]:
    """Raises RedisError, OSError."""
    async with Redis.from_url(url, protocol=2, socket_timeout=ANSWER_SECONDS) as client:
        await client.ping()
        server = await client.info("server")
        memory = await client.info("memory")
        version = str(server["redis_version"])
        findings = [_version(version), _policy(memory)]
        if int(version.split(".", maxsplit=1)[0]) >= FUNCTIONS_SINCE:
            findings += await _pool(client)
    return findings


def _version(version: str) -> Finding:
    if int(version.split(".", maxsplit=1)[0]) < OLDEST:
        return Finding("redis: version", version, "6 or newer is needed, 7 is better")
    return Finding("redis: version", version)


def _policy(memory: dict[str, object]) -> Finding:
    policy, limit = memory.get("maxmemory_policy", "noeviction"), memory.get("maxmemory", 0)
    what, said = "redis: memory", f"{memory.get('used_memory_human')} used, {policy}"
    if limit and policy != "noeviction":
        return Finding(what, said, "maxmemory-policy noeviction: others forget calls that live")
    return Finding(what, said)


async def _pool(client: Redis) -> list[Finding]:
    what = "redis: pool functions"
    libraries = await client.function_list(library=LIBRARY)
    if not libraries:
        advice = "no worker has loaded them: does one run, with this Redis as its --redis?"
        return [Finding(what, "missing", advice)]
    listed = await client.fcall("vf_workers", 0)
    rows = [listed[at : at + LISTED] for at in range(0, len(listed), LISTED)]
    draining = sum(int(row[DRAINING]) for row in rows)
    pool = Finding("redis: pool", f"{len(rows)} workers, {draining} of them draining")
    if len(rows) == draining:
        advice = "no worker takes calls: the edge would not fork"
        pool = Finding(pool.what, pool.said, advice)
    return [Finding(what, "there"), pool]
