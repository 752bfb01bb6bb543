"""Every way out of a handoff that nobody takes, on a real Asterisk.

Caller 440 Hz, bot 1000, music 350, agent 600; the menu's announcement 1600.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.tones import write_tone
from voicefork_cli.sim.source import Mute

from tests.e2e.ears import AGENT, INTRO, MUSIC, until_hears
from tests.e2e.story import nanoseconds
from tests.e2e.switchboard import FOUND_SECONDS, Scene, Switchboard, asking, open_switchboard
from tests.e2e.test_handoff_faults import redis_stopped
from tests.e2e.watch import Watch

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUEUE_SECONDS = 1
ONE = ["PJSIP/agent-1"]


def rule(name: str, **actions: object) -> dict[str, object]:
    return {"name": name, "when": {"intent": [name]}, "targets": ONE, **actions}


def menu(name: str, **limits: float) -> dict[str, object]:
    keys = {"1": "next_target", "2": "voicemail"}
    return rule(
        name,
        fallbacks=["holding_menu", "voicemail"],
        voicemail="2000@voicefork-voicemail",
        menu={"announcement": "sound:@MENU@", "keys": keys, **limits},
    )


RULES = {
    "default": {"pattern": "attended", "targets": ONE, "ring_seconds": 3},
    "rules": [
        rule("voicemail", fallbacks=["voicemail"], voicemail="2000@voicefork-voicemail"),
        rule("callback", fallbacks=["callback"], callback="s@voicefork-callback"),
        rule("backup", fallbacks=["backup_centre"], backup="PJSIP/agent-2", accept_key="1"),
        rule("unplaced", fallbacks=["voicemail", "callback", "backup_centre", "holding_menu"]),
        rule("next", targets=["PJSIP/agent-1", "PJSIP/agent-2"], fallbacks=["next_target"]),
        menu("menu", every_seconds=15, lasts_seconds=30),
        menu("brief-menu", every_seconds=2, lasts_seconds=3.5),
        {
            "name": "queue",
            "when": {"intent": ["queue"]},
            "pattern": "dialplan",
            "fallbacks": ["backup_centre"],
            "backup": "PJSIP/agent-2",
        },
        {
            "name": "queue-only",
            "when": {"intent": ["queue-only"]},
            "pattern": "dialplan",
            "fallbacks": [],
        },
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    menu = stage_lab.folder / "menu"
    write_tone(menu.with_suffix(".wav"), INTRO, seconds=1)
    rules = json.loads(json.dumps(RULES).replace("@MENU@", str(menu)))
    async with open_switchboard(stage_lab, rules) as board:
        yield board


def wanting(intent: str) -> pb.EscalateRequest:
    return asking(intent=intent, pattern=pb.PATTERN_AUTO)


async def until_in(scene: Scene, application: str) -> None:
    """Until the caller is in that application of the dialplan."""
    async with asyncio.timeout(FOUND_SECONDS):
        while application not in await scene.board.stage.applications():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def successor(scene: Scene, watch: Watch) -> Watch:
    """The handoff that goes on with the caller after the queue."""
    async with asyncio.timeout(FOUND_SECONDS):
        while True:
            request = pb.GetHandoffRequest(call_id=scene.call_id)
            answer: Any = scene.board.service.GetHandoff(request)
            if (latest := (await answer).handoff.handoff_id) != watch.handoff_id:
                return scene.watch(latest)
            await asyncio.sleep(0.02)


async def test_voicemail_takes_the_caller(board: Switchboard) -> None:
    board.behave(ring_seconds=0.3, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("voicemail"))
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_VOICEMAIL)
        assert final.sip_status == 486
        await until_in(scene, "VoiceMail")
        await scene.until_stands(["PJSIP/carrier"], [])


async def test_the_callback_of_the_dialplan_takes_the_caller(board: Switchboard) -> None:
    board.behave(ring_seconds=0.3, status=486)
    async with board.calling() as scene:
        final = await (await scene.escalate(wanting("callback"))).final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_CALLBACK)
        await until_in(scene, "Playback")


async def test_the_backup_centre_talks_to_the_caller_without_a_key(board: Switchboard) -> None:
    board.behave(ring_seconds=0.3, status=503)
    board.behave("agent-2", ring_seconds=0.5)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("backup"))
        await watch.because_of(pb.OUTCOME_UNREACHABLE)
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_BACKUP_CENTRE)
        assert final.target.endpoint == "PJSIP/agent-2"
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone()
        assert scene.calls_to("agent-2")[0].invite.get("X-Voicefork-Fork") == "no"
        await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])


async def test_ways_without_a_place_are_skipped(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, status=486)
    async with board.calling() as scene:
        final = await (await scene.escalate(wanting("unplaced"))).final()
        assert final.outcome == pb.OUTCOME_QUEUED
        await until_hears(scene.caller, MUSIC)
        scene.assert_never_alone()


async def test_a_caller_on_hold_chooses_to_try_again(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("menu"))
        await until_hears(scene.caller, INTRO)
        await until_hears(scene.caller, MUSIC)
        board.behave(ring_seconds=0.3)
        await scene.caller.press("9")  # leads nowhere
        await scene.caller.press("1")
        final = await watch.final()
        assert final.outcome == pb.OUTCOME_CONNECTED
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone()


async def test_a_caller_who_chooses_during_the_announcement_need_not_hear_it_out(
    board: Switchboard,
) -> None:
    board.behave(ring_seconds=0.0, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("menu"))
        await until_hears(scene.caller, INTRO)
        await scene.caller.press("2")
        final = await watch.final()
        assert final.outcome == pb.OUTCOME_VOICEMAIL
        await until_in(scene, "VoiceMail")


async def test_a_menu_in_which_nobody_chooses_gives_way_to_the_next(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("brief-menu"))
        announced = await until_hears(scene.caller, INTRO, since_ns=scene.escalated_ns)
        music = await until_hears(scene.caller, MUSIC, since_ns=announced)
        await until_hears(scene.caller, INTRO, since_ns=music)  # once more
        await watch.because_of(pb.OUTCOME_TIMED_OUT)
        assert (await watch.final()).outcome == pb.OUTCOME_VOICEMAIL
        assert len(scene.calls_to()) == 1


async def test_the_menu_goes_on_while_redis_stands_still(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("menu"))
        await until_hears(scene.caller, INTRO)
        board.behave(ring_seconds=0.3)
        with redis_stopped(board):
            await scene.caller.press("1")
            await watch.until(pb.PHASE_CONNECTED)
            await until_hears(scene.caller, AGENT)
        scene.assert_never_alone()
        await scene.until_stands(["PJSIP/agent-1", "PJSIP/carrier"], ["mix"])


async def test_a_caller_who_hangs_up_in_the_menu_leaves_nothing_behind(board: Switchboard) -> None:
    board.behave(ring_seconds=0.0, status=486)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("menu"))
        await until_hears(scene.caller, INTRO)
        await scene.caller.hang_up()
        assert (await watch.final()).outcome == pb.OUTCOME_CALLER_HUNG_UP
        await scene.until_stands([], [])


async def test_an_agent_who_is_not_heard_is_followed_by_the_next(board: Switchboard) -> None:
    board.behave(ring_seconds=0.3, source=Mute())
    board.behave("agent-2", ring_seconds=1.0)
    async with board.calling() as scene:
        watch = await scene.escalate(wanting("next"))
        alone = nanoseconds(await watch.because_of(pb.OUTCOME_ONE_WAY_AUDIO))
        await until_hears(scene.caller, MUSIC, since_ns=alone)
        final = await watch.final()
        assert final.outcome == pb.OUTCOME_CONNECTED
        assert final.target.endpoint == "PJSIP/agent-2"
        await until_hears(scene.caller, AGENT)
        await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])
        await scene.until_ended()


async def test_a_caller_whom_a_queue_gives_up_gets_the_next_way_out(board: Switchboard) -> None:
    asterisk = board.stage.asterisk
    await asterisk.cli(f"dialplan set global VOICEFORK_QUEUE_SECONDS {QUEUE_SECONDS}")
    board.behave("agent-2", ring_seconds=0.5)
    async with board.calling() as scene:
        first = await scene.escalate(wanting("queue"))
        assert (await first.final()).outcome == pb.OUTCOME_QUEUED
        second = await successor(scene, first)
        await second.because_of(pb.OUTCOME_NO_ANSWER)
        final = await second.final()
        assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_BACKUP_CENTRE)
        await until_hears(scene.caller, AGENT)
        scene.assert_never_alone()
        await scene.until_stands(["PJSIP/agent-2", "PJSIP/carrier"], ["mix"])


async def test_a_caller_whom_a_queue_gives_up_hears_its_goodbye_where_no_way_is_left(
    board: Switchboard,
) -> None:
    asterisk = board.stage.asterisk
    await asterisk.cli(f"dialplan set global VOICEFORK_QUEUE_SECONDS {QUEUE_SECONDS}")
    async with board.calling() as scene:
        first = await scene.escalate(wanting("queue-only"))
        assert (await first.final()).outcome == pb.OUTCOME_QUEUED
        final = await (await successor(scene, first)).final()
        assert (final.phase, final.outcome) == (pb.PHASE_FAILED, pb.OUTCOME_NO_ANSWER)
        await until_in(scene, "Playback")
