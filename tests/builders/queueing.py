"""Handoffs on a node where the dialplan alone has the caller: its queue takes them at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.handoff.effects import Finish
from orchestrator.handoff.events import QueueEntered, Requested
from orchestrator.handoff.machine import begin
from orchestrator.model import BridgeId, ChannelId, DialplanEntry, Outcome, Phase

from tests.builders.handoffs import PLACE, Driven, request

VOICEMAIL, CALLBACK = DialplanEntry("mail", "2000"), DialplanEntry("callback", "s")
ALONE = replace(PLACE, bot=ChannelId(""), bridge=BridgeId(""), dialplan_only=True)


def asked(**changes: Any) -> Driven:
    """Without ways out, where none is given."""
    wanted = request(place=ALONE, **{"fallbacks": (), **changes})
    return Driven(begin(wanted, 100.0)).feed(Requested(100.0))


def queueing(**changes: Any) -> Driven:
    driven = asked(**changes)
    return driven.feed(QueueEntered(100.1, driven.state.moves))


def ends(driven: Driven) -> tuple[Phase, Outcome]:
    assert len(driven.ever(Finish)) == 1
    return driven.state.phase, driven.state.outcome
