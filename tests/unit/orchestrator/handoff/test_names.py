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


def test_what_speaks_to_the_caller_is_a_voice_of_the_handoff_and_no_agent() -> None:
    told = names.told_caller(HandoffId("h-1"))
    for leg in (names.voice_channel(told), names.whisper_channel(told)):
        assert names.is_voice(leg)
        assert names.owner_of(leg) == "h-1"
        assert names.agent_of(leg) is None


def test_a_phrase_is_told_from_other_playbacks() -> None:
    handoff = HandoffId("h-1")
    assert names.phrase_of(names.phrase(handoff)) == handoff
    assert names.phrase_of(names.announcement(handoff, 1)) is None
