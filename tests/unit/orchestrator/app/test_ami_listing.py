"""The callers of an AMI node, as rows of Status name them."""

from __future__ import annotations

from orchestrator.app.ami_listing import Listed, caller_of
from orchestrator.ari.ami_wire import AmiMessage


def row(context: str, bridge: str, **variables: str) -> AmiMessage:
    """As Asterisk 16 and 22 write it; unset variables are (null)."""
    known = {"VOICEFORK_CALL": "c1", "VOICEFORK_CALLER": "1.1", "VOICEFORK_TENANT": "acme"}
    told = {**known, "VOICEFORK_DIRECTION": "(null)", "VOICEFORK_HANDOFF": "(null)", **variables}
    fields = [("Event", "Status"), ("Uniqueid", "1.1"), ("Context", context), ("BridgeID", bridge)]
    return AmiMessage((*fields, *(("Variable", f"{name}={told[name]}") for name in told)))


def found(context: str, bridge: str, **variables: str) -> Listed:
    caller = caller_of(row(context, bridge, **variables))
    assert caller is not None
    return caller


def test_a_caller_with_the_bot() -> None:
    caller = found("voicefork-hosted", "b1", VOICEFORK_HOSTED="PJSIP/bot")
    assert (caller.channel, caller.call, caller.tenant, caller.bot) == (
        *("1.1", "c1", "acme"),
        "PJSIP/bot",
    )
    assert (caller.direction, caller.handoff) == ("", "")
    assert (caller.is_with_bot, caller.is_merged) == (True, False)


def test_a_caller_whose_bot_rings_has_no_bot_yet() -> None:
    assert not found("voicefork-hosted", "").is_with_bot


def test_a_caller_in_the_queue_and_then_with_an_agent() -> None:
    waiting = found("voicefork-queue", "", VOICEFORK_HANDOFF="h1")
    assert (waiting.is_with_bot, waiting.is_merged) == (False, False)
    assert found("voicefork-queue", "b2", VOICEFORK_HANDOFF="h1").is_merged


def test_a_leg_inherits_the_callers_variables_and_is_no_caller() -> None:
    assert caller_of(row("internal", "b2", VOICEFORK_CALLER="1.0")) is None


def test_a_channel_of_somebody_elses_is_no_caller() -> None:
    null = {"VOICEFORK_CALL": "(null)", "VOICEFORK_CALLER": "(null)"}
    assert caller_of(row("from-carrier", "", **null)) is None
    assert caller_of(row("from-carrier", "", VOICEFORK_CALL="")) is None


def test_a_value_may_hold_what_parts_names_from_values() -> None:
    assert found("voicefork-queue", "", VOICEFORK_HANDOFF="a=b").handoff == "a=b"
