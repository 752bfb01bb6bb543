"""A handoff's steps on a node that refuses some of them."""

from __future__ import annotations

import pytest
from orchestrator.ari.client import AriClient
from orchestrator.ari.rest import open_rest
from orchestrator.ari.telephony import AriTelephony
from orchestrator.errors import Conflict, NoSuchPlace, Unreachable
from orchestrator.handoff.ports import ChannelGone
from orchestrator.model import BridgeId, ChannelId, DialplanEntry, Endpoint, NodeName
from orchestrator.telemetry import Metrics

from tests.fakes.ari_node import PASSWORD, USER, FakeAriNode
from tests.integration.orchestrator.conftest import FAILURE_SECONDS

NODE = NodeName("asterisk")
CALLER = ChannelId("caller")
AGENT = ChannelId("agent")
HOLD = BridgeId("hold")
QUEUE = DialplanEntry("voicefork-queue", "support")


@pytest.fixture
def telephony(client: AriClient) -> AriTelephony:
    return AriTelephony(client, context="internal")


async def queue(telephony: AriTelephony) -> None:
    variables = {"VOICEFORK_INTENT": "dispute"}
    await telephony.continue_in_dialplan(NODE, CALLER, QUEUE, variables=variables, music="default")


@pytest.mark.parametrize("step", ["moh", "variable", "continue"])
async def test_a_caller_who_is_in_the_dialplan_already_needs_no_more(
    node: FakeAriNode, telephony: AriTelephony, step: str
) -> None:
    node.refuse[step] = 409
    await queue(telephony)


@pytest.mark.parametrize("step", ["moh", "variable"])
async def test_what_only_adorns_the_way_to_the_queue_does_not_bar_it(
    node: FakeAriNode, telephony: AriTelephony, step: str
) -> None:
    node.refuse[step] = 500
    await queue(telephony)
    assert node.asked("continue support@voicefork-queue") == 1


async def dial(telephony: AriTelephony) -> None:
    await telephony.dial(
        NODE, AGENT, Endpoint("PJSIP/agent-1"), caller=CALLER, ring_seconds=20, variables={}
    )


async def test_an_agent_who_is_not_in_stasis_at_once_is_dialled_all_the_same(
    node: FakeAriNode, telephony: AriTelephony
) -> None:
    """Asterisk may answer `create` before its thread has the channel in the application."""
    node.too_early = 3
    await dial(telephony)
    assert node.dialled == {AGENT}


async def test_an_agent_is_dialled_once(node: FakeAriNode, telephony: AriTelephony) -> None:
    await dial(telephony)
    await dial(telephony)
    assert node.asked(f"{AGENT}/dial") == 2
    assert node.dialled == {AGENT}


async def test_an_agent_who_never_gets_into_stasis_is_an_error(
    node: FakeAriNode, telephony: AriTelephony
) -> None:
    """Nobody would ring, and no event would say so."""
    node.too_early = 1000
    with pytest.raises(Conflict):
        await dial(telephony)


async def test_a_caller_who_is_gone_is_found_gone(
    node: FakeAriNode, telephony: AriTelephony
) -> None:
    node.channels.clear()
    with pytest.raises(ChannelGone):
        await queue(telephony)


async def test_a_node_that_is_away_is_unreachable(telephony: AriTelephony) -> None:
    async with open_rest(
        "http://127.0.0.1:1", USER, PASSWORD, limit_seconds=2.0, metrics=Metrics()
    ) as rest:
        away = AriTelephony(AriClient(rest, "voicefork-0"), context="internal")
        with pytest.raises(Unreachable):
            await queue(away)


async def test_a_place_that_is_not_verified_is_asked_for_first(node: FakeAriNode) -> None:
    """`continue` into nowhere hangs the caller up."""
    async with open_rest(
        node.url, USER, PASSWORD, limit_seconds=FAILURE_SECONDS, metrics=Metrics()
    ) as rest:
        telephony = AriTelephony(
            AriClient(rest, "voicefork-0"), context="internal", verified=lambda _: False
        )
        with pytest.raises(NoSuchPlace):
            await queue(telephony)
        assert node.asked("/moh") == 0
        node.places.add("voicefork-queue,support,1")
        await queue(telephony)
    assert node.asked("continue support@voicefork-queue") == 1


async def held(node: FakeAriNode, telephony: AriTelephony) -> list[str]:
    """What Asterisk is asked for, but to stop the caller's own music."""
    await telephony.hold(NODE, CALLER, HOLD, "default")
    return [request for request in node.requests if not request.startswith("DELETE")]


async def test_a_new_bridge_has_music_before_the_caller_comes(
    node: FakeAriNode, telephony: AriTelephony
) -> None:
    await telephony.make_holding(NODE, HOLD, "default")
    steps = ["POST bridges/hold", "POST bridges/hold/moh", "POST bridges/hold/addChannel"]
    assert await held(node, telephony) == steps


async def test_who_is_held_again_hears_music_again(
    node: FakeAriNode, telephony: AriTelephony
) -> None:
    """It has ended with the last who left the bridge."""
    await telephony.make_holding(NODE, HOLD, "default")
    await held(node, telephony)
    await telephony.move_caller(NODE, CALLER, BridgeId("b1"))
    node.requests.clear()
    assert await held(node, telephony) == [
        "GET bridges/hold",
        "POST bridges/hold/addChannel",
        "POST bridges/hold/moh",
        "POST bridges/hold/moh",
    ]


async def test_whom_a_predecessor_has_held_stays_where_they_are(
    node: FakeAriNode, telephony: AriTelephony
) -> None:
    """Who leaves, and be it to come back, ends the music."""
    node.bridges["hold"] = ["caller"]
    assert await held(node, telephony) == ["GET bridges/hold"]
