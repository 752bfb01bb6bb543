"""The table's rows of a briefing: the agent is told before they accept."""

from __future__ import annotations

from orchestrator.handoff.effects import (
    AddAgent,
    BriefAgent,
    ClearDeadline,
    DialAgent,
    HangUp,
    HushBriefing,
    PlayPrompt,
    SetDeadline,
    TearDown,
)
from orchestrator.handoff.events import (
    AgentAccepted,
    AgentAnswered,
    AgentJoined,
    AgentKey,
    AgentLost,
    BriefingEnded,
    BriefingStarted,
    CallerLeft,
    CallerMerged,
    Deadline,
    DeadlinePassed,
)
from orchestrator.handoff.names import briefing_bridge
from orchestrator.handoff.tracks import AwaitingKey, Briefing, Joining
from orchestrator.model import Outcome, Pattern, Phase

from tests.builders.handoffs import ALICE, BOB, HANDOFF, Driven, agent, both_heard, started


def briefing(**changes: object) -> Driven:
    plan = {"pattern": Pattern.WARM_WHISPER, "accept_key": "1", "prompt": "sound:accept", **changes}
    return started(**plan).held().feed(AgentAnswered(104.0, agent()))


def test_an_agent_who_answers_is_briefed_before_the_prompt() -> None:
    driven = briefing()
    assert driven.state.agent == Briefing(1)
    assert [effect.channel for effect in driven.wants(BriefAgent)] == [agent()]
    assert SetDeadline(Deadline.BRIEFING, 134.0) in driven.effects
    assert driven.wants(PlayPrompt) == []


def test_the_phase_says_so_once_the_agent_hears_it() -> None:
    driven = briefing()
    assert driven.state.phase is Phase.ANSWERED
    assert driven.feed(BriefingStarted(104.2, agent())).state.phase is Phase.BRIEFING


def test_the_prompt_follows_the_briefing() -> None:
    driven = briefing().feed(BriefingEnded(108.0, agent()))
    assert driven.state.agent == AwaitingKey(1)
    assert [effect.media for effect in driven.wants(PlayPrompt)] == ["sound:accept"]
    assert SetDeadline(Deadline.ACCEPT, 123.0) in driven.effects


def test_the_key_accepts_at_once_in_the_middle_of_the_briefing() -> None:
    driven = briefing().feed(AgentKey(105.0, agent(), "1"))
    assert driven.state.agent == Joining(1, 105.0)
    assert len(driven.wants(HushBriefing)) == len(driven.wants(AddAgent)) == 1
    assert ClearDeadline(Deadline.BRIEFING) in driven.effects


def test_a_click_accepts_too() -> None:
    assert briefing().feed(AgentAccepted(105.0)).state.agent == Joining(1, 105.0)


def test_another_key_is_not_heard() -> None:
    driven = briefing()
    before = driven.state
    assert driven.feed(AgentKey(105.0, agent(), "2")).state == before


def test_without_a_key_the_briefings_end_accepts() -> None:
    driven = briefing(accept_key="").feed(BriefingEnded(108.0, agent()))
    assert driven.state.agent == Joining(1, 108.0)


def test_a_briefing_that_takes_too_long_is_cut_and_the_prompt_follows() -> None:
    driven = briefing().feed(DeadlinePassed(134.0, Deadline.BRIEFING))
    assert driven.state.agent == AwaitingKey(1)
    assert len(driven.wants(HushBriefing)) == len(driven.wants(PlayPrompt)) == 1


def test_its_late_end_changes_nothing_more() -> None:
    driven = briefing().feed(DeadlinePassed(134.0, Deadline.BRIEFING))
    before = driven.state
    assert driven.feed(BriefingEnded(134.1, agent())).state == before


def test_an_agent_who_hangs_up_meanwhile_is_followed_by_the_next() -> None:
    driven = briefing(targets=(ALICE, BOB)).feed(AgentLost(105.0, agent(), 0, 16))
    assert driven.state.outcome is Outcome.AGENT_HUNG_UP
    assert [effect.target for effect in driven.wants(DialAgent)] == [BOB]
    assert len(driven.wants(HushBriefing)) == 1


def test_a_caller_who_hangs_up_meanwhile_ends_it() -> None:
    driven = briefing().feed(CallerLeft(105.0))
    assert driven.state.outcome is Outcome.CALLER_HUNG_UP
    assert len(driven.wants(HushBriefing)) == 1
    assert agent() in [effect.channel for effect in driven.wants(HangUp)]


def test_the_bridge_of_a_briefing_is_gone_when_caller_and_agent_talk() -> None:
    """It could not be taken down at its end where the PBX could not be asked just then."""
    driven = briefing(accept_key="").feed(
        BriefingEnded(108.0, agent()), AgentJoined(108.1, agent())
    )
    driven.feed(CallerMerged(108.2, driven.state.moves), both_heard(108.3))
    assert briefing_bridge(HANDOFF) in driven.wants(TearDown)[-1].bridges


def test_it_is_gone_when_the_caller_leaves_too() -> None:
    driven = briefing().feed(CallerLeft(105.0))
    assert briefing_bridge(HANDOFF) in driven.wants(TearDown)[-1].bridges
