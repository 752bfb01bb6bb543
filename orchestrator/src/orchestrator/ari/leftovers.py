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
from orchestrator.ari.pbx import OWN_LEG, PROBE
from orchestrator.errors import NotFound
from orchestrator.handoff.names import agent_of, is_voice, owner_of
from orchestrator.model import ChannelId

_TALKBACK = "-talkback-"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found. Callers who talk with an agent are left alone: they need nobody."""

    living: frozenset[str]  # all channels of the node
    orphans: tuple[Channel, ...]  # callers with a bot, or alone, without an owner
    waiting: tuple[Channel, ...]  # callers whom a handoff has left in the music, or with nobody
    legs: tuple[str, ...]  # talk-back legs without an owner, agents without a caller
    bridges: tuple[str, ...]  # of bots and handoffs without an owner


def sort_out(
    app: str,
    channels: Sequence[Channel],
    bridges: Sequence[Bridge],
    owned: Callable[[str], bool],
) -> Leftovers:
    """Pure: `owned` says whether a channel or bridge belongs to a call or handoff that we know."""
    strays = [channel for channel in channels if channel.app == app and not owned(channel.id)]
    ours = [bridge for bridge in bridges if bridge.name.startswith(f"{app} ")]
    talks = {bridge.id for bridge in bridges if _is_handoffs(bridge) and _is_talk(bridge)}
    around = {channel: bridge for bridge in bridges for channel in bridge.channels}
    others = {channel.id for channel in channels if channel.app not in ("", app)}
    orphans, waiting, legs = [], [], []
    for stray in strays:
        bridge = around.get(stray.id)
        if bridge is not None and (not _is_replicas(bridge) or bridge.id in talks):
            continue
        if stray.id.startswith(OWN_LEG):
            legs += [stray.id] if _is_leg(stray.id) else []
        elif bridge is not None and _is_handoffs(bridge):
            waiting.append(stray)
        else:
            orphans.append(stray)
    return Leftovers(
        living=frozenset(channel.id for channel in channels),
        orphans=tuple(orphans),
        waiting=tuple(waiting),
        legs=tuple(legs),
        bridges=tuple(
            bridge.id
            for bridge in ours
            if bridge.id not in talks
            and not owned(bridge.id)
            and not any(owned(channel) or channel in others for channel in bridge.channels)
        ),
    )


def _is_handoffs(bridge: Bridge) -> bool:
    """A handoff's bridge is named by its id, a bot's by its call (ari.telephony, ari.pbx)."""
    return _is_replicas(bridge) and bridge.name.endswith(f" {bridge.id}")


def _is_replicas(bridge: Bridge) -> bool:
    """Of ours or of another replica, whose calls we may have adopted."""
    return bridge.id.startswith(OWN_LEG) and " " in bridge.name


def _is_talk(bridge: Bridge) -> bool:
    """A caller and an agent are in it; a voice that briefs the agent is no caller."""
    people = [channel for channel in bridge.channels if not is_voice(ChannelId(channel))]
    agents = sum(agent_of(ChannelId(channel)) is not None for channel in people)
    return 0 < agents < len(people)


def _is_leg(channel: str) -> bool:
    return _TALKBACK in channel or channel.startswith(PROBE) or owner_of(channel) is not None


async def clear_up(client: AriClient, leftovers: Leftovers) -> None:
    """Ends legs and bridges that nobody owns; callers stay. Raises PbxError."""
    for leg in leftovers.legs:
        with suppress(NotFound):
            await client.hang_up(leg)
    for bridge in leftovers.bridges:
        with suppress(NotFound):
            await client.destroy_bridge(bridge)
