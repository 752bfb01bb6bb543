from __future__ import annotations

import pytest
from voicefork_sdk.escalation import Escalation
from voicefork_sdk.events import HandoffUpdate
from voicefork_sdk.model import CloseReason, Outcome, Phase


def update(phase: Phase, revision: int) -> HandoffUpdate:
    return HandoffUpdate("h", phase, Outcome.UNSPECIFIED, revision, "r")


async def test_the_result_is_the_final_update() -> None:
    escalation = Escalation("r")
    for revision, phase in enumerate((Phase.RECEIVED, Phase.RINGING, Phase.FAILED), 1):
        escalation.received(update(phase, revision))
    assert (await escalation.result()).phase is Phase.FAILED


async def test_repeats_and_what_comes_late_are_ignored() -> None:
    escalation = Escalation("r")
    for phase, revision in ((Phase.RINGING, 5), (Phase.RECEIVED, 1), (Phase.CONNECTED, 6)):
        escalation.received(update(phase, revision))
    escalation.received(update(Phase.FAILED, 7))
    assert [one.phase async for one in escalation.updates()] == [Phase.RINGING, Phase.CONNECTED]


async def test_the_end_of_the_call_ends_the_waiting() -> None:
    escalation = Escalation("r")
    escalation.call_ended(CloseReason.CALL_ENDED)
    assert (await escalation.result()).outcome is Outcome.CALLER_HUNG_UP


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (CloseReason.HUMAN_CONNECTED, Outcome.CONNECTED),
        (CloseReason.LEFT_BOT, Outcome.QUEUED),
    ],
)
async def test_a_stream_that_ends_for_a_human_is_no_hang_up(
    reason: CloseReason, outcome: Outcome
) -> None:
    escalation = Escalation("r")
    escalation.call_ended(reason)
    result = await escalation.result()
    assert (result.outcome, result.phase.is_final) == (outcome, True)
