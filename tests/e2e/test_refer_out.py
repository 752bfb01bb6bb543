"""A target outside: the caller's carrier is asked by REFER; whatever it says, nobody is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.referral import Referral

from tests.e2e.ears import BOT, MUSIC, until_hears
from tests.e2e.switchboard import Scene, Switchboard, asking, open_switchboard
from tests.e2e.watch import Watch
from tests.e2e.witnessed import assert_witness_agrees

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = {"default": {"targets": ["PJSIP/agent-1"], "ring_seconds": 2}}
DESK = "sip:desk@example.com"
LATE_SECONDS = 6.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def board(stage_lab: Lab) -> AsyncIterator[Switchboard]:
    async with open_switchboard(stage_lab, RULES) as board:
        yield board


async def refers(scene: Scene, referral: Referral, *fallbacks: pb.Fallback.ValueType) -> Watch:
    """Asks for the desk outside; the caller's side of the carrier does as `referral` says."""
    scene.caller.referral = referral
    wanted = asking(
        pattern=pb.PATTERN_REFER, target=pb.Target(sip_uri=DESK), fallbacks=list(fallbacks)
    )
    return await scene.escalate_by_service(wanted)


def notified(scene: Scene, status: int) -> bool:
    """Whether the carrier's NOTIFY has been answered."""
    return any(event.text.startswith(f"NOTIFY {status}") for event in scene.caller.events)


async def test_a_carrier_that_takes_it_ends_our_leg_as_connected(board: Switchboard) -> None:
    async with board.calling() as scene:
        referral = Referral()
        watch = await refers(scene, referral)
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_CONNECTED, pb.OUTCOME_CONNECTED)
        assert final.sip_status == 200
        assert final.target.sip_uri == DESK
        assert referral.asked_for == [DESK]
        last, heard = await watch.settled(), scene.caller.heard
        over = heard[-1].arrival_ns
        assert_witness_agrees(last.timing.dead_air_ms, heard, scene.escalated_ns, over)
        scene.assert_never_alone()


async def test_a_carrier_that_takes_it_and_hangs_up_first_is_connected_too(
    board: Switchboard,
) -> None:
    async with board.calling() as scene:
        final = await (await refers(scene, Referral(hangs_up=True))).final()
        assert final.outcome == pb.OUTCOME_CONNECTED


@pytest.mark.parametrize(
    ("referral", "outcome", "sip_status"),
    [
        (Referral(status=403), pb.OUTCOME_UNREACHABLE, 403),
        (Referral(status=405), pb.OUTCOME_UNREACHABLE, 405),
        (Referral(progress=((0.05, 100), (0.3, 503))), pb.OUTCOME_UNREACHABLE, 503),
        (Referral(progress=((0.05, 100), (0.3, 486))), pb.OUTCOME_BUSY, 486),
    ],
    ids=["403", "405", "notify-503", "notify-486"],
)
async def test_a_refusal_gives_the_caller_back_to_the_bot_without_a_silent_frame(
    board: Switchboard, referral: Referral, outcome: pb.Outcome.ValueType, sip_status: int
) -> None:
    async with board.calling() as scene:
        watch = await refers(scene, referral, pb.FALLBACK_RETURN_TO_BOT)
        because = await watch.because_of(outcome)
        assert because.sip_status == sip_status
        final = await watch.final()
        assert final.phase == pb.PHASE_RETURNED
        await until_hears(scene.caller, BOT)
        scene.assert_never_alone()


async def test_a_carrier_that_says_nothing_is_waited_for_only_so_long(board: Switchboard) -> None:
    """Its NOTIFY comes when nobody waits any more; until then Asterisk keeps the channel listed."""
    async with board.calling() as scene:
        late = Referral(progress=((0.05, 100), (LATE_SECONDS, 503)))
        watch = await refers(scene, late, pb.FALLBACK_RETURN_TO_BOT)
        await watch.because_of(pb.OUTCOME_TIMED_OUT)
        assert (await watch.final()).phase == pb.PHASE_RETURNED
        await until_hears(scene.caller, BOT)
        assert not notified(scene, 503)
        async with asyncio.timeout(4 * LATE_SECONDS):
            while not notified(scene, 503):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await until_hears(scene.caller, BOT)
        scene.assert_never_alone()


async def test_without_another_way_the_queue_takes_the_caller(board: Switchboard) -> None:
    async with board.calling() as scene:
        watch = await refers(scene, Referral(status=403))
        final = await watch.final()
        assert (final.phase, final.outcome) == (pb.PHASE_QUEUED, pb.OUTCOME_QUEUED)
        await until_hears(scene.caller, MUSIC)
        scene.assert_never_alone()


async def test_a_caller_who_hangs_up_meanwhile_has_hung_up(board: Switchboard) -> None:
    async with board.calling() as scene:
        watch = await refers(scene, Referral(progress=((0.05, 100), (1.2, 503))))
        await until_hears(scene.caller, MUSIC, since_ns=scene.escalated_ns)
        await scene.caller.hang_up()
        assert (await watch.final()).outcome == pb.OUTCOME_CALLER_HUNG_UP
        async with asyncio.timeout(4 * LATE_SECONDS):  # without it Asterisk keeps the channel
            while not notified(scene, 503):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
