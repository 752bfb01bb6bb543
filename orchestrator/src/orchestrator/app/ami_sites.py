"""Opens the nodes that are driven by AMI alone, as the settings name them."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from redis.asyncio import Redis

from orchestrator.app.ami_site import AmiSite
from orchestrator.ari.ami import AmiAccount
from orchestrator.ari.endpoints import endpoint_of
from orchestrator.config import HostPort, Settings
from orchestrator.errors import SetupError
from orchestrator.fleet.dialplan_callers import DialplanCallers
from orchestrator.fleet.guard import Guard
from orchestrator.fleet.slots import LIMIT_SECONDS
from orchestrator.model import DialplanEntry
from orchestrator.telemetry import Metrics


@asynccontextmanager
async def open_ami_sites(
    settings: Settings, metrics: Metrics
) -> AsyncIterator[Mapping[str, AmiSite]]:
    """By name. Nothing is sent before they are run. Raises SetupError."""
    redis: Redis = Redis.from_url(settings.redis, protocol=2, socket_connect_timeout=LIMIT_SECONDS)
    replica = f"{socket.gethostname()}/{secrets.token_hex(8)}"
    queue = DialplanEntry(settings.queue_context, settings.queue_extension)
    endpoint = partial(endpoint_of, context=settings.agent_context, trunk=settings.trunk)
    try:
        yield {
            name: AmiSite(
                *(name, _account(settings, name, where), queue, metrics),
                guard=Guard(redis, name, replica),
                queued=DialplanCallers(redis, name),
                endpoint=endpoint,
            )
            for name, where in settings.ami_nodes.items()
        }
    finally:
        await redis.aclose()


def _account(settings: Settings, name: str, text: str) -> AmiAccount:
    try:
        where = HostPort(text)
    except ValueError as error:
        raise SetupError(f"--ami-nodes: {name}: {error}") from error
    return AmiAccount(where.host, where.port, settings.ami_user, settings.ami_secret())
