"""Which human: requests over rules, rules over defaults."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator.model import (
    CallId,
    DialplanEntry,
    Endpoint,
    Escalation,
    Extension,
    Fallback,
    Pattern,
    Queue,
)
from orchestrator.routing.policy import PatternUnsupported, plan_for
from orchestrator.routing.table import default_table

ALICE = Endpoint("PJSIP/alice")
TABLE = default_table([ALICE], queue_context="queues", queue="support")


def asked(**changes: Any) -> Escalation:
    return Escalation("r1", CallId("call-1"), **changes)


def test_by_default_the_configured_target_is_called_first() -> None:
    plan = plan_for(asked(), TABLE)
    assert (plan.pattern, plan.targets) == (Pattern.ATTENDED, (ALICE,))
    assert plan.queue == DialplanEntry("queues", "support")
    assert plan.rule == "default"


@pytest.mark.parametrize("intent", ["dispute", "Chargeback", "UNAUTHORISED"])
def test_a_dispute_freezes_the_bot_and_goes_first(intent: str) -> None:
    plan = plan_for(asked(intent=intent), TABLE)
    assert (plan.rule, plan.freeze_bot, plan.priority) == ("dispute", True, 9)


def test_what_is_asked_for_wins() -> None:
    plan = plan_for(
        asked(
            intent="dispute",
            target=Endpoint("PJSIP/bob"),
            priority=3,
            give_up_after=7.0,
            fallbacks=(Fallback.RETURN_TO_BOT,),
        ),
        TABLE,
    )
    assert plan.targets == (Endpoint("PJSIP/bob"),)
    assert (plan.priority, plan.limits.give_up) == (3, 7.0)
    assert plan.fallbacks == (Fallback.RETURN_TO_BOT,)


def test_a_queue_is_reached_through_the_dialplan() -> None:
    plan = plan_for(asked(target=Queue("fraud")), TABLE)
    assert (plan.pattern, plan.targets) == (Pattern.DIALPLAN, ())
    assert (plan.queue, plan.queue_name) == (DialplanEntry("queues", "fraud"), "fraud")


def test_the_dialplan_can_be_asked_for_an_extension() -> None:
    plan = plan_for(asked(pattern=Pattern.DIALPLAN, target=Extension("200", "internal")), TABLE)
    assert plan.queue == DialplanEntry("internal", "200")
    assert plan.targets == ()


def test_with_nobody_to_call_the_queue_is_the_plan() -> None:
    empty = default_table([], queue_context="queues", queue="support")
    assert plan_for(asked(), empty).pattern is Pattern.DIALPLAN


@pytest.mark.parametrize("pattern", [Pattern.WARM_WHISPER, Pattern.REFER])
def test_patterns_that_do_not_exist_are_refused(pattern: Pattern) -> None:
    with pytest.raises(PatternUnsupported):
        plan_for(asked(pattern=pattern), TABLE)
