"""Ids of a handoff's bridges, channels and effects, all derived from the handoff's own id.

An effect whose id is known before it is performed can be repeated without harm: creating a bridge
or a channel under an id that exists already is answered by Asterisk with what is there.
"""

from __future__ import annotations

import re

from orchestrator.model import BridgeId, ChannelId, HandoffId

_BRIDGE = re.compile(r"vf-(?P<handoff>.+)-(?:hold|mix)")
_AGENT = re.compile(r"vf-(?P<handoff>.+)-agent-(?P<attempt>[1-9][0-9]{0,3})")


def holding_bridge(handoff: HandoffId) -> BridgeId:
    return BridgeId(f"vf-{handoff}-hold")


def merge_bridge(handoff: HandoffId) -> BridgeId:
    return BridgeId(f"vf-{handoff}-mix")


def bridges(handoff: HandoffId) -> tuple[BridgeId, BridgeId]:
    """All that a handoff makes."""
    return holding_bridge(handoff), merge_bridge(handoff)


def agent_channel(handoff: HandoffId, attempt: int) -> ChannelId:
    return ChannelId(f"vf-{handoff}-agent-{attempt}")


def handoff_of(bridge: BridgeId) -> HandoffId | None:
    """Which handoff made this bridge; None for any other bridge."""
    match = _BRIDGE.fullmatch(bridge)
    return None if match is None else HandoffId(match["handoff"])


def agent_of(channel: ChannelId) -> tuple[HandoffId, int] | None:
    """Which handoff dialled this channel, and in which attempt; None for any other channel."""
    if (match := _AGENT.fullmatch(channel)) is None:
        return None
    return HandoffId(match["handoff"]), int(match["attempt"])
