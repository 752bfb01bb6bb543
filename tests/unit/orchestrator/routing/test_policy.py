"""Which human: requests over rules, rules over defaults."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrator.model import (
    CallId,
    Context,
    DialplanEntry,
    Endpoint,
    Escalation,
    Extension,
    Fallback,
    Menu,
    Pattern,
    Queue,
    SipUri,
)
from orchestrator.routing.parsing import default_table, parse_table
from orchestrator.routing.policy import DestinationRefused, plan_for
from orchestrator.routing.situation import Situation
from orchestrator.routing.table import RoutingTable

ALICE = Endpoint("PJSIP/alice")
TABLE = default_table([ALICE], queue_context="queues", queue="support")


def asked(**changes: Any) -> Escalation:
    return Escalation("r1", CallId("call-1"), **changes)


def routes(text: str) -> RoutingTable:
    return parse_table(text, RoutingTable())


def test_by_default_the_configured_target_is_called_first() -> None:
    plan = plan_for(asked(), TABLE)
    assert (plan.pattern, plan.targets) == (Pattern.ATTENDED, (ALICE,))
    assert plan.queue == DialplanEntry("queues", "support")
    assert plan.rule == "default"


@pytest.mark.parametrize(
    "intent", ["dispute", "Chargeback", "UNAUTHORISED", "unauthorized_payment"]
)
def test_a_dispute_freezes_the_bot_goes_first_and_is_audited(intent: str) -> None:
    plan = plan_for(asked(intent=intent), TABLE)
    assert (plan.rule, plan.freeze_bot, plan.priority, plan.audit) == ("dispute", True, 9, True)


@pytest.mark.parametrize(
    ("reason", "language"),
    [
        ("The caller DISPUTES a 150 dollar charge.", "en-US"),
        ("wants a charge-back", "en"),
        ("Zahlung war nicht autorisiert", "de-CH"),
        ("a chargeback", "ja"),
    ],
)
def test_a_dispute_is_known_by_its_words_whatever_the_intent(reason: str, language: str) -> None:
    assert plan_for(asked(reason=reason, language=language), TABLE).rule == "dispute"


@pytest.mark.parametrize("reason", ["indisputable", "asks for opening hours", ""])
def test_other_words_are_no_dispute(reason: str) -> None:
    assert plan_for(asked(intent="billing", reason=reason), TABLE).rule == "default"


def test_what_is_asked_for_wins() -> None:
    plan = plan_for(
        asked(
            intent="dispute",
            target=Endpoint("PJSIP/alice"),
            priority=3,
            give_up_after=7.0,
            fallbacks=(Fallback.RETURN_TO_BOT,),
        ),
        TABLE,
    )
    assert plan.targets == (Endpoint("PJSIP/alice"),)
    assert (plan.priority, plan.limits.give_up) == (3, 7.0)
    assert plan.fallbacks == (Fallback.RETURN_TO_BOT,)


def test_a_queue_is_reached_through_the_dialplan() -> None:
    plan = plan_for(asked(target=Queue("fraud")), routes("queues: {fraud: {}}"))
    assert (plan.pattern, plan.targets) == (Pattern.DIALPLAN, ())
    assert (plan.queue, plan.queue_name) == (DialplanEntry("voicefork-queue", "fraud"), "fraud")
    assert plan.usual_queue == DialplanEntry("voicefork-queue", "s")  # should "fraud" not be there
    assert plan_for(asked(), routes("queues: {fraud: {}}")).usual_queue is None


def test_the_dialplan_can_be_asked_for_an_extension() -> None:
    table = routes("destinations: {allow: {extension: '2??@internal'}}")
    plan = plan_for(asked(pattern=Pattern.DIALPLAN, target=Extension("200", "internal")), table)
    assert plan.queue == DialplanEntry("internal", "200")
    assert plan.usual_queue == DialplanEntry("voicefork-queue", "s")
    assert plan.targets == ()


def test_with_nobody_to_call_the_queue_is_the_plan() -> None:
    empty = default_table([], queue_context="queues", queue="support")
    assert plan_for(asked(), empty).pattern is Pattern.DIALPLAN


@pytest.mark.parametrize("pattern", [Pattern.WARM_WHISPER, Pattern.REFER])
def test_every_pattern_that_dials_has_the_targets(pattern: Pattern) -> None:
    plan = plan_for(asked(pattern=pattern), TABLE)
    assert (plan.pattern, plan.targets) == (pattern, (ALICE,))


def test_a_target_whose_condition_does_not_fit_is_left_out() -> None:
    table = routes(
        "default: {targets: [{to: PJSIP/german, when: {language: de}}, PJSIP/alice, 'queue:late']}"
    )
    assert plan_for(asked(language="de-AT"), table).targets == (Endpoint("PJSIP/german"), ALICE)
    plan = plan_for(asked(language="en"), table)
    assert (plan.targets, plan.queue_name) == ((ALICE,), "late")


def test_a_tenants_defaults_are_below_the_rules_and_above_the_common_ones() -> None:
    table = routes(
        """
        default: {targets: [PJSIP/alice], priority: 1, ring_seconds: 20, accept_seconds: 9}
        tenants: {acme: {default: {priority: 2, ring_seconds: 10}}}
        rules: [{name: vip, when: {intent: vip}, priority: 3}]
        """
    )
    plain = plan_for(asked(), table, Situation(tenant="acme"))
    assert (plain.priority, plain.limits.ring, plain.limits.accept) == (2, 10, 9)
    assert plan_for(asked(intent="vip"), table, Situation(tenant="acme")).priority == 3
    assert plan_for(asked(), table, Situation(tenant="other")).priority == 1


def test_a_plan_has_the_places_of_its_ways_out() -> None:
    plan = plan_for(
        asked(language="de-DE", context=Context(slots={"account": "4092", "amount": 150.0})),
        routes(
            """
            default:
              voicemail: 2000@voicemail
              backup: sip:desk@backup.example
              callback: back@callbacks
              menu: {announcement: sound:hold, keys: {1: voicemail}, lasts_seconds: 60}
              briefing: "Account {slot.account}, {slot.amount} dollars, {slot.none}."
              phrases: {en: One moment., de: "sound:moment-de"}
              music: waltz
            """
        ),
    )
    assert plan.voicemail == DialplanEntry("voicemail", "2000")
    assert plan.backup == SipUri("sip:desk@backup.example")
    assert plan.callback == DialplanEntry("callbacks", "back")
    assert plan.menu == Menu("sound:hold", {"1": Fallback.VOICEMAIL}, lasts=60)
    assert plan.briefing == "Account 4092, 150 dollars, unknown."
    assert (plan.phrase, plan.music) == ("sound:moment-de", "waltz")


# --- whom an AI may ask for -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        Endpoint("PJSIP/bob"),
        SipUri("sip:+900123456@premium.example"),
        Extension("0900123456", "internal"),
        Queue("elsewhere"),
    ],
)
def test_nobody_is_reached_whom_the_routes_do_not_name(
    target: Endpoint | SipUri | Extension | Queue,
) -> None:
    with pytest.raises(DestinationRefused, match=r"destinations\.allow"):
        plan_for(asked(target=target), TABLE)


def test_a_tenant_does_not_reach_whom_only_anothers_rules_name() -> None:
    table = routes("rules: [{name: a, when: {tenant: acme}, targets: [PJSIP/alice]}]")
    assert plan_for(asked(target=ALICE), table, Situation(tenant="acme")).targets == (ALICE,)
    with pytest.raises(DestinationRefused):
        plan_for(asked(target=ALICE), table, Situation(tenant="other"))


def test_a_tenants_own_destinations_replace_the_common_ones() -> None:
    table = routes(
        "{destinations: {allow: {endpoint: PJSIP/*}}, "
        "tenants: {acme: {destinations: {allow: {queue: a*}}}}}"
    )
    assert plan_for(asked(target=ALICE), table, Situation(tenant="other")).targets == (ALICE,)
    with pytest.raises(DestinationRefused):
        plan_for(asked(target=ALICE), table, Situation(tenant="acme"))


def test_whom_we_call_is_the_tenants_own_list_where_there_is_one() -> None:
    table = routes(
        "{destinations: {allow: {number: '+1*'}},"
        " tenants: {acme: {destinations: {allow: {number: '+49*'}}}}}"
    )
    assert table.allows_call("+1415", "other")
    assert not table.allows_call("+1415", "acme")
    assert table.allows_call("+4930", "acme")
