"""One line of a diagnosis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp
import grpc
from redis.exceptions import RedisError

from voicefork_cli.sim.errors import SimError

CHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was looked at, what was found, and where that is bad: what to do."""

    what: str
    said: str
    advice: str = ""

    @property
    def bad(self) -> bool:
        return bool(self.advice)


Check = Callable[[], Awaitable[Sequence[Finding]]]


async def found(
    what: str, advice: str, check: Check, seconds: float = CHECK_SECONDS
) -> list[Finding]:
    """What `check` finds; one bad finding where it is refused, or takes too long."""
    try:
        async with asyncio.timeout(seconds):
            return list(await check())
    except TimeoutError:
        return [Finding(what, f"no answer in {seconds:g} s", advice)]
    except grpc.aio.AioRpcError as error:
        return [Finding(what, error.details() or error.code().name, advice)]
    except (OSError, aiohttp.ClientError, RedisError, SimError, ValueError) as error:
        return [Finding(what, str(error) or type(error).__name__, advice)]
