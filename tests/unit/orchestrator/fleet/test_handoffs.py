"""Which calls a handoff may have, and when it gives them back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from orchestrator.errors import PeerError
from orchestrator.fleet import events as on
from orchestrator.fleet.call import EnteredCall, Tenant
from orchestrator.fleet.handoffs import CallPlaces, HandoffWorkers
from orchestrator.fleet.worker_control import open_worker_controls
from orchestrator.handoff.machine import begin
from orchestrator.handoff.state import view
from orchestrator.model import CallId, Outcome, Phase

from orchestrator import model
from tests.builders.handoffs import request
from tests.unit.orchestrator.fleet.surroundings import Stage, open_stage

C1 = CallId("c1")
CALL = EnteredCall(C1, Tenant("default"), "ch1", "ulaw")


def located(stage: Stage) -> model.Place | None:
    return CallPlaces(stage.calls, "lab", lambda _: "leg", lambda call: f"vf-{call}").locate(C1)


async def talking(stage: Stage) -> None:
    stage.calls.enter(CALL)
    await stage.workers.attached.get()
    stage.calls.post(C1, on.BotSpoke())
    await stage.pbx.until("no-music ch1")


async def test_a_call_with_its_bot_is_found() -> None:
    async with open_stage() as stage:
        await talking(stage)
        place = located(stage)
        assert place is not None
        assert (place.caller, place.bot, place.bridge) == ("ch1", "leg", "vf-c1")


@pytest.mark.parametrize(
    ("leaving", "sign"),
    [(on.SendToQueue("x"), "queue ch1"), (on.BotHangsUp(30.0), "dtmf ch1")],
)
async def test_a_call_on_its_way_out_is_not_handed_over(leaving: on.Event, sign: str) -> None:
    async with open_stage() as stage:
        await talking(stage)
        stage.calls.post(C1, on.BotSendsDtmf("1"))
        stage.calls.post(C1, leaving)
        await stage.pbx.until(sign)
        assert located(stage) is None


@pytest.mark.parametrize(
    ("phase", "outcome", "state"),
    [
        (Phase.RECEIVED, Outcome.UNSPECIFIED, "lent"),
        (Phase.CANCELLED, Outcome.SUPERSEDED, "lent"),
        (Phase.CANCELLED, Outcome.CANCELLED, "talking"),
        (Phase.RETURNED, Outcome.RETURNED_TO_BOT, "talking"),
    ],
)
async def test_a_call_is_lent_until_the_caller_is_with_the_bot_again(
    phase: Phase, outcome: Outcome, state: str
) -> None:
    handoff = replace(view(begin(request(), 1.0)), call_id=C1, phase=phase, outcome=outcome)
    async with open_stage() as stage, open_worker_controls("lab", limit_seconds=0.2) as controls:
        await talking(stage)
        stage.calls.post(C1, on.HandoffTook())
        with pytest.raises(PeerError):  # no worker listens here
            await HandoffWorkers(stage.calls, controls, 0.2).notify(handoff)
        stage.calls.post(C1, on.BotSendsDtmf("1"))
        found = stage.calls.view(C1)
        assert found is not None
        assert found.state == state
