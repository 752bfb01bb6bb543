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


def test_what_a_living_call_owns_is_no_leftover() -> None:
    found = sort_out(APP, [CALLER, LEG], [BOTS_BRIDGE], lambda _: True)
    assert (found.orphans, found.legs, found.bridges) == ((), (), ())


def test_another_replicas_calls_are_left_alone() -> None:
    caller = Channel("caller", app_data="voicefork-1,inbound")
    leg = Channel("vf-c1-talkback-1", app_data="voicefork-1")
    bridge = Bridge("vf-c1", "voicefork-1 c1", ("caller", leg.id))
    found = sort_out(APP, [caller, leg], [bridge], nobody)
    assert (found.orphans, found.legs, found.bridges) == ((), (), ())


def test_a_caller_in_a_bridge_of_another_kind_belongs_to_a_handoff() -> None:
    bridge = Bridge("handoff-1", "h", ("caller", "agent"))
    assert sort_out(APP, [CALLER], [bridge], nobody).orphans == ()


def test_a_leg_of_ours_that_is_no_talk_back_is_left_alone() -> None:
    agent = Channel("vf-h1-agent", app_data=APP)
    found = sort_out(APP, [agent], [], nobody)
    assert (found.orphans, found.legs) == ((), ())


def test_every_channel_of_the_node_counts_as_living() -> None:
    elsewhere = Channel("x", app_data="Queue")
    assert sort_out(APP, [CALLER, elsewhere], [], nobody).living == {"caller", "x"}
