"""Who a channel is that enters, by what the dialplan and the edge say of it."""

from __future__ import annotations

import pytest
from orchestrator.errors import Conflict, Unreachable
from orchestrator.fleet.entrance import Entrance

from tests.unit.orchestrator.fleet.surroundings import open_stage


async def test_a_call_is_known_by_the_dialplans_variables() -> None:
    async with open_stage() as stage:
        stage.pbx.variables = {"VOICEFORK_CALL": "c1", "VOICEFORK_TENANT": "acme"}
        Entrance(stage.calls, stage.pbx).enter("ch1", ["inbound"], answered=False)
        call = await stage.workers.attached.get()
        assert (call.call_id, call.tenant, call.codec, call.direction) == (
            "c1",
            "acme",
            "alaw",
            "in",
        )


async def test_variables_that_come_with_the_event_are_not_asked_for() -> None:
    given = {"VOICEFORK_CALL": "c1", "VOICEFORK_TENANT": "", "VOICEFORK_DIRECTION": "out"}
    async with open_stage() as stage:
        entrance = Entrance(stage.calls, stage.pbx)
        entrance.enter("ch1", ["inbound"], answered=True, variables=given)
        call = await stage.workers.attached.get()
        assert (call.call_id, call.tenant, call.direction) == ("c1", "default", "out")
        assert stage.pbx.asked.count("identity ch1") <= 1


async def test_arguments_count_more_than_variables() -> None:
    async with open_stage() as stage:
        stage.pbx.variables = {"VOICEFORK_CALL": "c1"}
        args = ["inbound", "call=c2", "tenant=acme"]
        Entrance(stage.calls, stage.pbx).enter("ch1", args, answered=False)
        call = await stage.workers.attached.get()
        assert (call.call_id, call.tenant) == ("c2", "acme")


async def test_without_variables_the_edges_headers_are_read() -> None:
    async with open_stage() as stage:
        stage.pbx.variables = {"PJSIP_HEADER(read,X-Voicefork-Call)": "c1"}
        Entrance(stage.calls, stage.pbx).enter("ch1", ["inbound"], answered=False)
        assert (await stage.workers.attached.get()).call_id == "c1"


@pytest.mark.parametrize("hostile", ["", "../../x", "a" * 65, "a b"])
async def test_a_call_without_a_usable_id_goes_to_the_queue_with_music(hostile: str) -> None:
    async with open_stage() as stage:
        stage.pbx.variables = {"VOICEFORK_CALL": hostile}
        Entrance(stage.calls, stage.pbx).enter("ch1", ["inbound"], answered=False)
        await stage.pbx.until("queue ch1")
        assert stage.pbx.asked[-3:] == ["answer ch1", "music ch1", "queue ch1"]


@pytest.mark.parametrize("args", [[], ["queue-ended", "support", "TIMEOUT"], ["survey"]])
async def test_another_kind_of_entry_goes_on_in_the_dialplan(args: list[str]) -> None:
    async with open_stage() as stage:
        Entrance(stage.calls, stage.pbx).enter("ch1", args, answered=True)
        await stage.pbx.until("dialplan ch1")


async def test_a_call_too_many_goes_to_the_queue_with_music() -> None:
    async with open_stage(max_calls=0) as stage:
        Entrance(stage.calls, stage.pbx).enter("ch1", ["inbound"], answered=False)
        await stage.pbx.until("queue ch1")
        assert stage.pbx.asked == ["answer ch1", "music ch1", "queue ch1"]


async def test_a_caller_nobody_can_be_asked_about_goes_to_the_queue() -> None:
    async with open_stage() as stage:
        stage.pbx.failing["identity"] = Unreachable("GET", "/channels/ch1/variable", 0, "")
        Entrance(stage.calls, stage.pbx).enter("ch1", ["inbound"], answered=False)
        await stage.pbx.until("queue ch1")


async def test_a_channel_told_by_an_event_and_found_in_a_list_enters_once() -> None:
    async with open_stage() as stage:
        stage.pbx.variables = {"VOICEFORK_CALL": "c1"}
        entrance = Entrance(stage.calls, stage.pbx)
        entrance.enter("ch1", ["inbound"], answered=False)
        entrance.enter("ch1", ["inbound"], answered=False)
        await stage.workers.attached.get()
        entrance.enter("ch1", ["inbound"], answered=False)
        await stage.pbx.until("bridge c1")
        assert "queue ch1" not in stage.pbx.asked


@pytest.mark.parametrize("step", ["answer", "music", "queue"])
async def test_a_caller_who_cannot_be_let_go_at_once_is_let_go_later(step: str) -> None:
    async with open_stage(max_calls=0) as stage:
        stage.pbx.failing[step] = Unreachable("POST", "/channels/ch1", 0, "")
        Entrance(stage.calls, stage.pbx).enter("ch1", ["inbound"], answered=False)
        await stage.pbx.until(f"{step} ch1")
        del stage.pbx.failing[step]
        await stage.pbx.until(f"{step} ch1", times=2)
        await stage.pbx.until("queue ch1")


async def test_a_caller_who_is_in_the_dialplan_already_is_let_go() -> None:
    async with open_stage(max_calls=0) as stage:
        stage.pbx.failing["answer"] = Conflict("POST", "/channels/ch1/answer", 409, "")
        entrance = Entrance(stage.calls, stage.pbx)
        await entrance.to_queue("ch1")
        assert stage.pbx.asked == ["answer ch1"]
