"""One Asterisk node as this replica sees it: its address, its requests, its calls' PBX."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from orchestrator.ari.client import AriClient, Place
from orchestrator.ari.pbx import AriPbx
from orchestrator.ari.rest import AriRest, Permit, open_rest
from orchestrator.config import Settings
from orchestrator.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Site:
    """`name` is the node's, as workers and records know it."""

    name: str
    rest: AriRest
    client: AriClient
    pbx: AriPbx


@asynccontextmanager
async def open_sites(
    settings: Settings, app: str, metrics: Metrics, permit: Permit
) -> AsyncIterator[Mapping[str, Site]]:
    """Every node by name, the one of --node first. Nothing is sent yet."""
    async with AsyncExitStack() as stack:
        sites = {}
        for name, url in {settings.node: settings.ari, **settings.ari_nodes}.items():
            rest = await stack.enter_async_context(
                open_rest(
                    url,
                    settings.ari_user,
                    settings.password(),
                    limit_seconds=settings.ari_limit,
                    metrics=metrics,
                    permit=permit,
                )
            )
            client = AriClient(rest, app)
            sites[name] = Site(name, rest, client, _pbx(settings, client))
        yield sites


def _pbx(settings: Settings, client: AriClient) -> AriPbx:
    return AriPbx(
        client,
        queue=Place(settings.queue_context, settings.queue_extension),
        music_class=settings.music_class,
        ring_tone=settings.ring_tone,
        limit=settings.ari_limit,
    )
