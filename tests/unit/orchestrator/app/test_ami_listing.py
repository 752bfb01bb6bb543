"""The callers of an AMI node, as rows of Status name them."""

from __future__ import annotations

import pytest
from orchestrator.app.ami_listing import Listed, QueueEnd, caller_of
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


# --- whom a queue has given up ---------------------------------------------------------------


def given_up(place: str, doing: str, bridge: str = "", handoff: str = "h1") -> QueueEnd | None:
    """`place`: extension@context."""
    extension, _, context = place.partition("@")
    told = {"QUEUESTATUS": "TIMEOUT", "HANGUPCAUSE": "21", "VOICEFORK_HANDOFF": handoff}
    of_the_rest = row(context, bridge, **told).fields
    caller = caller_of(AmiMessage((*of_the_rest, ("Exten", extension), ("Application", doing))))
    assert caller is not None
    return caller.ended


@pytest.mark.parametrize("queue", ["support", "menu", "vf-h1-agent-1"])
def test_who_hears_music_after_it_was_given_up(queue: str) -> None:
    assert given_up(f"{queue}@voicefork-queue-ended", "MusicOnHold") == QueueEnd(
        queue, "TIMEOUT", 21
    )


def test_for_whom_nobody_came_in_time_has_been_given_up_by_something() -> None:
    assert given_up("s@voicefork-queue-over", "Playback") == QueueEnd("", "TIMEOUT", 21)


def test_what_the_dialplan_is_just_about_to_tell_itself_is_no_end_yet() -> None:
    assert given_up("support@voicefork-queue-ended", "UserEvent") is None


def test_no_end_of_a_handoff() -> None:
    assert given_up("support@voicefork-queue", "Queue") is None
    assert given_up("s@voicefork-queue-over", "Playback", handoff="(null)") is None
    assert given_up("support@voicefork-queue-ended", "MusicOnHold", bridge="b1") is None


def test_an_end_without_a_cause() -> None:
    fields = row("voicefork-queue-over", "", VOICEFORK_HANDOFF="h1", HANGUPCAUSE="").fields
    caller = caller_of(AmiMessage(fields))
    assert caller is not None
    assert caller.ended == QueueEnd("", "", None)
