"""What is ours on a node after a break, and what must be left alone."""

from __future__ import annotations

from orchestrator.ari.events import Bridge, Channel
from orchestrator.ari.leftovers import sort_out

APP = "voicefork-0"
IN_APP = "voicefork-0,inbound"
CALLER = Channel("caller", app_data=IN_APP)
LEG = Channel("vf-c1-talkback-1", app_data=APP)
BOTS_BRIDGE = Bridge("vf-c1", f"{APP} c1", ("caller", "vf-c1-talkback-1"))


def nobody(_: str) -> bool:
    return False


def test_what_a_predecessor_left_is_found() -> None:
    found = sort_out(APP, [CALLER, LEG], [BOTS_BRIDGE], nobody)
    assert found.orphans == (CALLER,)
    assert found.legs == ("vf-c1-talkback-1",)
    assert found.bridges == ("vf-c1",)


def test_a_channel_that_only_asked_something_is_a_leftover() -> None:
    probe = Channel(f"vf-probe-{APP}", state="Down", app_data=APP)
    assert sort_out(APP, [probe], [], nobody).legs == (probe.id,)


def test_what_a_living_call_owns_is_no_leftover() -> None:
    found = sort_out(APP, [CALLER, LEG], [BOTS_BRIDGE], lambda _: True)
    assert (found.orphans, found.legs, found.bridges) == ((), (), ())


def test_another_replicas_calls_are_left_alone() -> None:
    caller = Channel("caller", app_data="voicefork-1,inbound")
    leg = Channel("vf-c1-talkback-1", app_data="voicefork-1")
    bridge = Bridge("vf-c1", "voicefork-1 c1", ("caller", leg.id))
    found = sort_out(APP, [caller, leg], [bridge], nobody)
    assert (found.orphans, found.legs, found.bridges) == ((), (), ())


def test_a_caller_in_a_bridge_of_somebody_else_is_left_alone() -> None:
    bridge = Bridge("conference-1", "c", ("caller", "another"))
    found = sort_out(APP, [CALLER], [bridge], nobody)
    assert (found.orphans, found.waiting) == ((), ())


AGENT = Channel("vf-h1-agent-1", app_data=f"{APP},agent")
HOLD = Bridge("vf-h1-hold", f"{APP} vf-h1-hold", ("caller",))
MIX = Bridge("vf-h1-mix", f"{APP} vf-h1-mix", (AGENT.id,))


def test_a_caller_whom_a_lost_handoff_left_in_the_music_is_found_waiting() -> None:
    found = sort_out(APP, [CALLER, AGENT], [HOLD, MIX], nobody)
    assert (found.waiting, found.orphans) == ((CALLER,), ())
    assert found.legs == (AGENT.id,)
    assert found.bridges == (HOLD.id, MIX.id)


def test_a_caller_whose_agent_is_gone_is_found_waiting() -> None:
    left = Bridge(MIX.id, MIX.name, ("caller",))
    assert sort_out(APP, [CALLER], [left], nobody).waiting == (CALLER,)


def test_a_conversation_of_caller_and_agent_is_left_alone() -> None:
    talk = Bridge(MIX.id, MIX.name, ("caller", AGENT.id))
    found = sort_out(APP, [CALLER, AGENT], [talk], nobody)
    assert (found.orphans, found.waiting, found.legs, found.bridges) == ((), (), (), ())


def test_the_bridges_of_a_living_handoff_are_kept_while_they_are_empty() -> None:
    empty = Bridge(MIX.id, MIX.name, ())
    assert sort_out(APP, [], [empty], MIX.id.__eq__).bridges == ()


def test_a_leg_of_ours_of_another_kind_is_left_alone() -> None:
    unknown = Channel("vf-of-a-later-version", app_data=APP)
    found = sort_out(APP, [unknown], [], nobody)
    assert (found.orphans, found.legs) == ((), ())


def test_every_channel_of_the_node_counts_as_living() -> None:
    elsewhere = Channel("x", app_data="Queue")
    assert sort_out(APP, [CALLER, elsewhere], [], nobody).living == {"caller", "x"}


def test_an_agent_whose_briefing_a_predecessor_began_is_a_leftover() -> None:
    voice = Channel(f"{AGENT.id}-voice", app_data=APP)
    briefing = Bridge("vf-h1-brief", f"{APP} vf-h1-brief", (AGENT.id, voice.id))
    found = sort_out(APP, [CALLER, AGENT, voice], [HOLD, MIX, briefing], nobody)
    assert found.waiting == (CALLER,)
    assert found.legs == (AGENT.id, voice.id)
    assert briefing.id in found.bridges
