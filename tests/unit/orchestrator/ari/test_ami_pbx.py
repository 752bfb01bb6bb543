"""A handoff's steps on a node without Stasis, as AMI's actions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

import pytest
from orchestrator.ari.ami import AmiClient
from orchestrator.ari.ami_pbx import MENU, MUSIC, OVER, AmiTelephony
from orchestrator.ari.ami_wire import AmiMessage
from orchestrator.ari.endpoints import endpoint_of
from orchestrator.errors import NotFound, PbxError, Unprocessable, Unreachable
from orchestrator.handoff.names import PlaybackId
from orchestrator.handoff.ports import ChannelGone
from orchestrator.model import (
    BridgeId,
    ChannelId,
    DialplanEntry,
    Endpoint,
    NodeName,
    Queue,
    SipUri,
    Target,
)

CALLER, NODE, QUEUE = ChannelId("1.1"), NodeName("old"), DialplanEntry("queues", "support")
AGENT, OUTSIDE = ChannelId("vf-h1-agent-1"), SipUri("sip:centre@example.org")


class Actions:
    """An AMI that takes everything; `failing` by the variable, or the action."""

    def __init__(self, context: str = "queues", extension: str = "support") -> None:
        self.at = {"CONTEXT": context, "EXTEN": extension}  # where the caller is
        self.failing: dict[str, PbxError] = {}
        self.asked: list[tuple[str, str]] = []

    async def action(self, name: str, fields: Mapping[str, str]) -> AmiMessage:
        what = fields.get("Variable") or name
        if what in self.failing:
            raise self.failing[what]
        if name != "Getvar":
            self.asked.append((what, fields.get("Value", fields.get("Exten", ""))))
        return AmiMessage((("Response", "Success"), ("Value", self.at.get(what, ""))))


def opened(ami: Actions, left: list[ChannelId] | None = None) -> AmiTelephony:
    told = [] if left is None else left
    endpoint = partial(endpoint_of, context="phones", trunk="carrier")
    return AmiTelephony(cast(AmiClient, ami), told.append, lambda _: True, endpoint=endpoint)


async def send(ami: Actions, entry: DialplanEntry | None = QUEUE) -> list[ChannelId]:
    left: list[ChannelId] = []
    telephony = opened(ami, left)
    variables = {"VOICEFORK_INTENT": "dispute\r\nAction: Logoff", "VOICEFORK_LANGUAGE": "de"}
    await telephony.continue_in_dialplan(NODE, CALLER, entry, variables=variables, music="jazz")
    return left


async def test_a_caller_goes_with_their_variables_and_music_each_in_one_line() -> None:
    ami = Actions()
    assert await send(ami) == [CALLER]
    assert ami.asked == [
        ("VOICEFORK_INTENT", "dispute Action: Logoff"),
        ("VOICEFORK_LANGUAGE", "de"),
        ("CHANNEL(musicclass)", "jazz"),
        ("Redirect", "support"),
    ]


async def test_a_variable_that_is_refused_bars_nobodys_way() -> None:
    ami = Actions()
    ami.failing["VOICEFORK_INTENT"] = PbxError("AMI", "Setvar", 400, "Permission denied")
    assert await send(ami) == [CALLER]
    assert ami.asked[-1] == ("Redirect", "support")
    assert ("VOICEFORK_LANGUAGE", "de") in ami.asked


async def test_who_is_gone_is_gone() -> None:
    ami = Actions()
    ami.failing["VOICEFORK_INTENT"] = NotFound("AMI", "Setvar", 404, "No such channel")
    with pytest.raises(ChannelGone):
        await send(ami)


async def test_a_node_that_does_not_answer_is_asked_no_further() -> None:
    ami = Actions()
    ami.failing["VOICEFORK_LANGUAGE"] = Unreachable("AMI", "Setvar", 0, "no answer")
    with pytest.raises(Unreachable):
        await send(ami)
    assert [what for what, _ in ami.asked] == ["VOICEFORK_INTENT"]


async def test_without_a_place_the_queue_is_over() -> None:
    ami = Actions()
    await send(ami, None)
    assert ami.asked[-1] == ("Redirect", OVER.extension)


@pytest.mark.parametrize(
    ("extension", "wanted", "sent"),
    [("support", "support", False), ("support", "s", False), ("sales", "support", True)],
)
async def test_who_is_sent_there_again_for_the_same_handoff_stays(
    extension: str, wanted: str, sent: bool
) -> None:
    """As an heir does: an agent may talk to them by now. They have left all the same."""
    ami, place = Actions("queues", extension), DialplanEntry("queues", wanted)
    ami.at["VOICEFORK_HANDOFF"] = "h1"
    left: list[ChannelId] = []
    telephony, variables = opened(ami, left), {"VOICEFORK_HANDOFF": "h1"}
    await telephony.continue_in_dialplan(NODE, CALLER, place, variables=variables, music="jazz")
    assert bool(ami.asked) is sent
    assert left == [CALLER]


async def test_who_is_sent_there_by_another_handoff_goes() -> None:
    ami = Actions()
    ami.at["VOICEFORK_HANDOFF"] = "h1"
    variables = {"VOICEFORK_HANDOFF": "h2"}
    await opened(ami).continue_in_dialplan(NODE, CALLER, QUEUE, variables=variables, music="jazz")
    assert ami.asked[-1] == ("Redirect", "support")


# --- somebody is called, or the caller asked --------------------------------------------------


async def dial(ami: Actions, target: Target = OUTSIDE) -> None:
    variables = {"VOICEFORK_LANGUAGE": "de"}
    await opened(ami).dial(
        NODE, AGENT, target, caller=CALLER, ring_seconds=19.6, variables=variables
    )


async def test_who_is_called_is_called_by_the_callers_own_dialplan() -> None:
    ami = Actions()
    await dial(ami)
    assert ami.asked == [
        ("VOICEFORK_LANGUAGE", "de"),
        ("VOICEFORK_DIAL", "PJSIP/carrier/sip:centre@example.org"),
        ("VOICEFORK_DIAL_SECONDS", "20"),
        ("Redirect", AGENT),
    ]


async def test_who_is_being_called_is_not_called_again() -> None:
    ami = Actions("voicefork-dial", AGENT)
    await dial(ami)
    assert not ami.asked


async def test_who_was_called_in_vain_is_called_again_by_an_heir() -> None:
    """What follows the Dial() has its extension."""
    ami = Actions("voicefork-queue-ended", AGENT)
    await dial(ami)
    assert ami.asked[-1] == ("Redirect", AGENT)


@pytest.mark.parametrize("target", [Endpoint("PJSIP/a,1,g"), Endpoint("PJSIP/a&PJSIP/b")])
async def test_a_target_brings_no_arguments_of_its_own(target: Target) -> None:
    ami = Actions()
    with pytest.raises(PbxError):
        await dial(ami, target)
    assert not ami.asked


async def test_a_queue_is_not_called() -> None:
    with pytest.raises(Unprocessable):
        await dial(Actions(), Queue("support"))


async def test_a_caller_who_is_gone_has_nobody_called() -> None:
    ami = Actions()
    ami.failing["EXTEN"] = NotFound("AMI", "Getvar", 404, "No such channel")
    with pytest.raises(ChannelGone):
        await dial(ami)


async def test_a_menu_is_announced_by_the_dialplan() -> None:
    ami = Actions()
    await opened(ami).play(NODE, CALLER, PlaybackId("p"), "sound:menus/first")
    assert ami.asked == [("VOICEFORK_ANNOUNCEMENT", "menus/first"), ("Redirect", MENU.extension)]


@pytest.mark.parametrize("media", ["tone:busy", "sound:a,m", "sound:a&b"])
async def test_what_the_dialplan_cannot_play_is_refused(media: str) -> None:
    ami = Actions()
    with pytest.raises(PbxError):
        await opened(ami).play(NODE, CALLER, PlaybackId("p"), media)
    assert not ami.asked


async def test_a_caller_is_held_by_leaving_whom_they_are_with() -> None:
    ami = Actions()
    await opened(ami).hold(NODE, CALLER, BridgeId("vf-h1-hold"), "default")
    assert ami.asked == [("Redirect", MUSIC.extension)]
