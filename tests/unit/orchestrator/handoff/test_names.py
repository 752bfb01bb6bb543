"""Ids derived from a handoff's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from orchestrator.handoff import names
from orchestrator.model import ChannelId, HandoffId

ids = st.from_regex(r"[A-Za-z0-9-]{1,40}", fullmatch=True).map(HandoffId)


@given(ids, st.integers(1, 9999))
def test_an_agents_channel_names_its_handoff(handoff: HandoffId, attempt: int) -> None:
    assert names.agent_of(names.agent_channel(handoff, attempt)) == (handoff, attempt)


@given(ids)
def test_bridges_are_no_agents(handoff: HandoffId) -> None:
    assert names.agent_of(ChannelId(names.holding_bridge(handoff))) is None
    assert names.agent_of(ChannelId(names.merge_bridge(handoff))) is None
