"""Ids of a handoff's bridges, channels and effects, all derived from the handoff's own id.

An effect whose id is known before it is performed can be repeated without harm: creating a bridge
or a channel under an id that exists already is answered by Asterisk with what is there.
"""

from __future__ import annotations

import re
from typing import NewType

from orchestrator.model import BridgeId, ChannelId, HandoffId

PlaybackId = NewType("PlaybackId", str)
"""An ARI playback's id."""

_BRIDGE = re.compile(r"vf-(?P<handoff>.+)-(?:hold|mix|brief)")
_VOICE = re.compile(r"vf-(?P<handoff>.+)-(?:agent-[1-9][0-9]{0,3}|caller)-(?:voice|whisper)")
_PHRASE = re.compile(r"vf-(?P<handoff>.+)-phrase")
_AGENT = re.compile(r"vf-(?P<handoff>.+)-agent-(?P<attempt>[1-9][0-9]{0,3})")


def holding_bridge(handoff: HandoffId) -> BridgeId:
    return BridgeId(f"vf-{handoff}-hold")


def merge_bridge(handoff: HandoffId) -> BridgeId:
    return BridgeId(f"vf-{handoff}-mix")


def briefing_bridge(handoff: HandoffId) -> BridgeId:
    """An agent and the voice that briefs them."""
    return BridgeId(f"vf-{handoff}-brief")


def bridges(handoff: HandoffId) -> tuple[BridgeId, ...]:
    """All that a handoff makes."""
    return holding_bridge(handoff), merge_bridge(handoff), briefing_bridge(handoff)


def agent_channel(handoff: HandoffId, attempt: int) -> ChannelId:
    return ChannelId(f"vf-{handoff}-agent-{attempt}")


def told_caller(handoff: HandoffId) -> ChannelId:
    """What legs that speak to the caller are named after: whose own channel's id is not ours."""
    return ChannelId(f"vf-{handoff}-caller")


def voice_channel(listener: ChannelId) -> ChannelId:
    """The leg that speaks to this agent, or to the caller, alone."""
    return ChannelId(f"{listener}-voice")


def whisper_channel(listener: ChannelId) -> ChannelId:
    """The snoop through which they are told something beside what they hear."""
    return ChannelId(f"{listener}-whisper")


def prompt(agent: ChannelId) -> PlaybackId:
    return PlaybackId(f"{agent}-prompt")


def phrase(handoff: HandoffId) -> PlaybackId:
    """The rules' phrase, where it is media of the PBX."""
    return PlaybackId(f"vf-{handoff}-phrase")


def announcement(handoff: HandoffId, number: int) -> PlaybackId:
    return PlaybackId(f"vf-{handoff}-announcement-{number}")


def is_voice(channel: ChannelId) -> bool:
    """Whether this is a leg that speaks to an agent or to the caller."""
    return _VOICE.fullmatch(channel) is not None


def owner_of(thing: str) -> HandoffId | None:
    """Which handoff made this bridge or channel; None for any other."""
    for pattern in (_BRIDGE, _AGENT, _VOICE):
        if (match := pattern.fullmatch(thing)) is not None:
            return HandoffId(match["handoff"])
    return None


def phrase_of(playback: str) -> HandoffId | None:
    """Which handoff's phrase this is; None for any other playback."""
    match = _PHRASE.fullmatch(playback)
    return None if match is None else HandoffId(match["handoff"])


def handoff_of(bridge: BridgeId) -> HandoffId | None:
    """Which handoff made this bridge; None for any other bridge."""
    match = _BRIDGE.fullmatch(bridge)
    return None if match is None else HandoffId(match["handoff"])


def agent_of(channel: ChannelId) -> tuple[HandoffId, int] | None:
    """Which handoff dialled this channel, and in which attempt; None for any other channel."""
    if (match := _AGENT.fullmatch(channel)) is None:
        return None
    return HandoffId(match["handoff"]), int(match["attempt"])
