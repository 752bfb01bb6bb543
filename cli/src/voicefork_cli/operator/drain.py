"""voicefork drain: a worker takes no call any more, gives those it has away, and ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import grpc
import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc

from voicefork_cli.grpc_channel import (
    PLAINTEXT,
    CaFile,
    CertFile,
    CertName,
    KeyFile,
    Tls,
    channel_to,
)

ASK_SECONDS = 2.0
LOOK_SECONDS = 0.3
LISTED = 8  # values of one worker in vf_workers' reply
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"


class NoSuchWorker(Exception):  # noqa: N818 - named after what happened
    """The pool does not know the worker, or the pool itself is away."""


@dataclass(frozen=True, slots=True)
class DrainPlan:
    worker: str  # its id, or HOST:PORT of its control service
    redis: str = DEFAULT_REDIS
    wait: bool = True
    limit_seconds: float = 3600.0
    tls: Tls = PLAINTEXT


def drain(  # noqa: PLR0913, PLR0917 - each is an option
    worker: Annotated[str, typer.Argument(help="Its id in the pool, or HOST:PORT of its control.")],
    redis: Annotated[
        str, typer.Option(envvar="VOICEFORK_REDIS", help="Where the pool is.")
    ] = DEFAULT_REDIS,
    wait: Annotated[bool, typer.Option(help="Until the worker has ended.")] = True,
    tls_ca: CaFile = None,
    tls_cert: CertFile = None,
    tls_key: KeyFile = None,
    tls_name: CertName = "",
) -> None:
    """Takes a worker out: no new calls, those it has move to others or end, then it ends."""
    plan = DrainPlan(worker, redis, wait, tls=Tls(tls_ca, tls_cert, tls_key, tls_name))
    raise typer.Exit(asyncio.run(run_drain(plan, Console(), Console(stderr=True))))


async def run_drain(plan: DrainPlan, screen: Console, complaints: Console) -> int:
    """The exit code."""
    try:
        control = plan.worker if ":" in plan.worker else await _control_of(plan)
        async with (
            channel_to(control, plan.tls) as channel,
            asyncio.timeout(plan.limit_seconds),
        ):
            return await _drain(plan, channel, screen)
    except grpc.aio.AioRpcError as error:
        what = f"{plan.worker}: {error.details() or error.code().name}"
        complaints.print(what, style="red", markup=False)
    except TimeoutError:
        complaints.print(f"{plan.worker}: still has calls", style="red", markup=False)
    except (NoSuchWorker, OSError) as error:  # a file of the TLS, too
        complaints.print(str(error), style="red", markup=False)
    return 1


async def _drain(plan: DrainPlan, channel: grpc.aio.Channel, screen: Console) -> int:
    stub: worker_pb2_grpc.WorkerControlAsyncStub
    stub = worker_pb2_grpc.WorkerControlStub(channel)
    left = (await stub.Drain(worker_pb2.DrainRequest(), timeout=ASK_SECONDS)).calls_left
    screen.print(f"{plan.worker}: draining, {left} calls", markup=False)
    while plan.wait:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            now = (await stub.Drain(worker_pb2.DrainRequest(), timeout=ASK_SECONDS)).calls_left
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                continue  # it is busy, not gone
            screen.print(f"{plan.worker}: ended", markup=False)
            break
        if now != left:
            left = now
            screen.print(f"{plan.worker}: {left} calls left", markup=False)
    return 0


async def _control_of(plan: DrainPlan) -> str:
    """The control address that the pool has of the worker. Raises NoSuchWorker."""
    try:
        async with Redis.from_url(plan.redis, protocol=2, socket_timeout=ASK_SECONDS) as client:
            listed = await client.fcall("vf_workers", 0)
    except (RedisError, OSError) as error:
        hint = "say where it is with --redis, or give the worker's control as HOST:PORT"
        at = urlsplit(plan.redis)  # without its password
        raise NoSuchWorker(
            f"no pool at {at.hostname}:{at.port or 6379}: {error}; {hint}"
        ) from error
    known = {row[0].decode(): row[6].decode() for row in _rows(listed)}
    if plan.worker not in known:
        there = ", ".join(sorted(known)) or "none"
        raise NoSuchWorker(f"no worker {plan.worker!r} in the pool; there: {there}")
    return known[plan.worker]


def _rows(listed: list[bytes]) -> list[list[bytes]]:
    return [listed[i : i + LISTED] for i in range(0, len(listed), LISTED)]
