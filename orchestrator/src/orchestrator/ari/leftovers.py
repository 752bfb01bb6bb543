"""After a connect: which channels and bridges of the node are ours, and which of them nobody owns.

Asterisk tells nothing of what happened while we were not connected, so what is is compared with
what we know. Only things that carry our application's name are touched: other replicas, and the
PBX's own calls, live on the same node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.ari.client import AriClient
from orchestrator.ari.events import Bridge, Channel
from orchestrator.ari.pbx import OWN_LEG
from orchestrator.errors import NotFound

_TALKBACK = "-talkback-"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found. `orphans`: callers in our application, with the bot or alone, without an
    owner; those in other bridges belong to a handoff."""

    living: frozenset[str]  # all channels of the node
    orphans: tuple[Channel, ...]
    legs: tuple[str, ...]  # talk-back legs without an owner
    bridges: tuple[str, ...]  # bots' bridges without an owner


def sort_out(
    app: str,
    channels: Sequence[Channel],
    bridges: Sequence[Bridge],
    owned: Callable[[str], bool],
) -> Leftovers:
    """Pure: `owned` says whether a channel belongs to a call or talk-back that we know."""
    ours = [channel for channel in channels if channel.app == app]
    bots = [bridge for bridge in bridges if bridge.name.startswith(f"{app} ")]
    bots_ids = {bridge.id for bridge in bots}
    elsewhere = {
        channel for bridge in bridges if bridge.id not in bots_ids for channel in bridge.channels
    }
    return Leftovers(
        living=frozenset(channel.id for channel in channels),
        orphans=tuple(
            channel
            for channel in ours
            if not channel.id.startswith(OWN_LEG)
            and not owned(channel.id)
            and channel.id not in elsewhere
        ),
        legs=tuple(
            channel.id
            for channel in ours
            if channel.id.startswith(OWN_LEG) and _TALKBACK in channel.id and not owned(channel.id)
        ),
        bridges=tuple(
            bridge.id for bridge in bots if not any(owned(channel) for channel in bridge.channels)
        ),
    )


async def clear_up(client: AriClient, leftovers: Leftovers) -> None:
    """Ends legs and bridges that nobody owns; orphaned callers stay. Raises PbxError."""
    for leg in leftovers.legs:
        with suppress(NotFound):
            await client.hang_up(leg)
    for bridge in leftovers.bridges:
        with suppress(NotFound):
            await client.destroy_bridge(bridge)
