"""A handoff's steps on a node without Stasis, as AMI's actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest
from orchestrator.ari.ami import AmiClient
from orchestrator.ari.ami_pbx import OVER, AmiTelephony
from orchestrator.errors import NotFound, PbxError, Unreachable
from orchestrator.handoff.ports import ChannelGone
from orchestrator.model import ChannelId, DialplanEntry, NodeName

CALLER, NODE, QUEUE = ChannelId("1.1"), NodeName("old"), DialplanEntry("queues", "support")


class Actions:
    """An AMI that takes everything; `failing` by the variable, or the action."""

    def __init__(self) -> None:
        self.failing: dict[str, PbxError] = {}
        self.asked: list[tuple[str, str]] = []

    async def action(self, name: str, fields: Mapping[str, str]) -> None:
        what = fields.get("Variable") or name
        if what in self.failing:
            raise self.failing[what]
        self.asked.append((what, fields.get("Value", fields.get("Exten", ""))))


async def send(ami: Actions, entry: DialplanEntry | None = QUEUE) -> list[ChannelId]:
    left: list[ChannelId] = []
    telephony = AmiTelephony(cast(AmiClient, ami), left.append)
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
