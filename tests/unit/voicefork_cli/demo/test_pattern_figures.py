"""What the demo says of one pattern alone, and of what the field asks for."""

from __future__ import annotations

from dataclasses import replace

from voicefork.handoff.v1 import handoff_pb2
from voicefork_cli.demo.dispute import Dispute
from voicefork_cli.demo.figures import dispute_figures
from voicefork_cli.demo.pattern_figures import field_figures, pattern_figures
from voicefork_cli.demo.patterns import Pattern
from voicefork_cli.demo.rows import Figure
from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.sdp import TELEPHONE_EVENT

from tests.unit.voicefork_cli.demo.made import AGENT, CALLER, MUSIC, dispute, speech
from tests.unit.voicefork_cli.measure.made import at, steady


def tabled(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name.strip(): figure for figure in figures}


def key(first: int, last: int) -> tuple[Packet, ...]:
    """The packets of a key, 20 ms each."""
    return tuple(p._replace(payload_type=TELEPHONE_EVENT) for p in steady(first, last, None))


def whispered(agent_heard: list[Packet]) -> Dispute:
    """Answered at 1 s, briefed until 4 s, key at 4.4 s."""
    told = dispute(settled=4.5, agent_heard=tuple(agent_heard))
    return replace(told, pattern=Pattern.WHISPER, agent_answered_ns=at(1), keys=key(220, 224))


def test_a_briefing_is_the_agents_and_not_the_callers() -> None:
    call = whispered([*speech(55, 200), *steady(225, 300, CALLER)])
    table = tabled(pattern_figures(steady(0, 300, MUSIC), call))
    assert table["briefing heard by the agent"].value == "2900 ms"
    assert table["by the caller meanwhile"].value == "0 ms, 3400 ms of music"
    assert all(figure.good for figure in table.values())


def test_a_caller_who_overhears_the_briefing_is_not_good() -> None:
    overheard = [*steady(0, 60, MUSIC), *speech(60, 70), *steady(70, 300, MUSIC)]
    table = tabled(pattern_figures(overheard, whispered(speech(55, 200))))
    assert table["by the caller meanwhile"].value == "200 ms, 3200 ms of music"
    assert table["by the caller meanwhile"].good is False


def test_an_agent_who_hears_the_caller_before_the_key_is_not_good() -> None:
    table = tabled(
        pattern_figures(
            steady(0, 300, MUSIC), whispered([*speech(55, 180), *steady(180, 250, CALLER)])
        )
    )
    assert table["the caller heard by the agent"].good is False


def test_an_agent_who_hears_nothing_was_not_briefed() -> None:
    table = tabled(pattern_figures(steady(0, 300, MUSIC), whispered([])))
    assert table["briefing heard by the agent"].good is False


def test_the_queue_must_know_of_what_and_of_which_handoff() -> None:
    call = replace(dispute(), pattern=Pattern.DIALPLAN)
    call.handoff.handoff_id = "h"
    known = {"INTENT": "dispute", "PRIORITY": "9", "HANDOFF": "h", "LANGUAGE": ""}
    (good,) = pattern_figures([], replace(call, variables=known))
    assert (good.value, good.good) == ("intent dispute, priority 9", True)
    (strange,) = pattern_figures([], replace(call, variables={**known, "HANDOFF": "i"}))
    (empty,) = pattern_figures([], call)
    assert (strange.good, empty.good) == (False, False)


def test_a_refer_that_never_came_is_not_good() -> None:
    call = replace(dispute(), pattern=Pattern.REFER)
    assert [figure.good for figure in pattern_figures([], call)] == [False, False]
    asked = replace(call, referred_ns=at(0.5), referred_to="sip:desk@example.com")
    assert [figure.value for figure in pattern_figures([], asked)] == ["500 ms", asked.referred_to]


def test_what_the_agents_key_takes_of_their_voice_is_no_dead_air() -> None:
    heard = [*steady(0, 50, MUSIC), *steady(54, 250, AGENT)]
    call = replace(dispute(settled=1.0, silent_ms=100), agent_answered_ns=at(0.1))
    plain = tabled(dispute_figures(heard, call, handoff_pb2.OUTCOME_CONNECTED))
    keyed = replace(call, keys=key(47, 54))
    table = tabled(dispute_figures(heard, keyed, handoff_pb2.OUTCOME_CONNECTED))
    assert plain["dead air during the whole handoff"].good is False
    assert table["dead air during the whole handoff"].good is True
    assert table["agent's key -> caller hears agent"].value == "20 ms"


def test_a_caller_of_the_queue_meets_an_agent_although_the_handoff_is_over_before() -> None:
    queued = dispute(handoff_pb2.PHASE_QUEUED, handoff_pb2.OUTCOME_QUEUED, settled=1.0)
    call = replace(queued, pattern=Pattern.DIALPLAN)
    assert call.reached
    assert call.joined_ns == call.agent_answered_ns
    assert not replace(call, agent_answered_ns=None).reached


def test_the_field_is_told_what_one_call_can_tell() -> None:
    heard = [*speech(0, 10), *steady(10, 100, MUSIC), *steady(100, 250, AGENT)]
    call = replace(dispute(), answered_ns=at(-2), reported=1, repeated=0)
    table = tabled(field_figures(heard, call, as_expected=True))
    assert table["caller held: < 250 ms after the bot's last word"].value == "20 ms"
    assert table["success: > 99.5 %"].value == "1 of 1 (CONNECTED)"
    assert table["callers who repeat themselves: < 5 %"].value == "0 of 1 reported"
    assert (
        table["handling time: -30 %"].value == "agent 2.0 s, bot 2.0 s before (50 % told already)"
    )
    assert all(figure.good is not False for figure in table.values())


def test_a_caller_held_late_or_made_to_repeat_is_not_good() -> None:
    late = [*speech(0, 10), *steady(10, 40, None), *steady(40, 250, MUSIC)]
    table = tabled(
        field_figures(late, replace(dispute(), reported=1, repeated=1), as_expected=False)
    )
    bad = [name.partition(":")[0] for name, figure in table.items() if figure.good is False]
    assert bad == ["caller held", "dead air", "success", "callers who repeat themselves"]


def test_nobody_who_reports_is_neither_good_nor_bad() -> None:
    table = tabled(field_figures(steady(0, 250, MUSIC), dispute(), as_expected=True))
    assert table["callers who repeat themselves: < 5 %"].good is None
