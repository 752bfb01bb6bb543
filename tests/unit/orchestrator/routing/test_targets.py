"""Targets in one line, and who may be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.model import Endpoint, Extension, Queue, SipUri, Target
from orchestrator.routing.targets import AllowList, parse_entry, parse_target, target_text

ALLOWED = AllowList(
    {
        "queue": ["support-*"],
        "extension": ["2??@internal", "7?"],
        "sip": ["*@desk.example", "+4930*@trunk.example:5070"],
        "endpoint": ["PJSIP/agent-*"],
    }
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("queue:fraud", Queue("fraud")),
        ("extension:200", Extension("200")),
        ("extension:200@internal", Extension("200", "internal")),
        ("sip:bob@example.com", SipUri("sip:bob@example.com")),
        ("PJSIP/alice", Endpoint("PJSIP/alice")),
    ],
)
def test_targets_are_written_in_one_line(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert target_text(target) == text


@pytest.mark.parametrize("text", ["alice", "queue:", "PJSIP/", "/alice", ""])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no target"):
        parse_target(text)


def test_a_place_of_the_dialplan_is_an_extension_at_a_context() -> None:
    assert parse_entry("2000@voicemail").context == "voicemail"
    with pytest.raises(ValueError, match="EXTENSION@CONTEXT"):
        parse_entry("2000")


@pytest.mark.parametrize(
    "text",
    [
        "queue:support-de",
        "extension:201@internal",
        "extension:71",
        "sip:anna@desk.example",
        "SIPS:anna@DESK.example;transport=tls",
        "sip:+493012@trunk.example:5070",
        "PJSIP/agent-7",
    ],
)
def test_what_a_pattern_fits_is_allowed(text: str) -> None:
    scheme, colon, rest = text.partition(":")
    target = SipUri(text) if colon and scheme.lower() in {"sip", "sips"} else parse_target(text)
    assert ALLOWED.allows(target), rest


@pytest.mark.parametrize(
    "target",
    [
        Queue("fraud"),
        Queue("support-de,1"),
        Extension("201"),
        Extension("201", "outbound"),
        Extension("2001", "internal"),
        Extension("2@@", "internal"),
        SipUri("sip:anna@desk.example.evil.example"),
        SipUri("sip:x@evil.example;y=@desk.example"),
        SipUri("sip:x@evil.example?to=a@desk.example"),
        SipUri("sip:a:b@desk.example"),
        SipUri("sip:a@desk.example\r\nX: y"),
        SipUri("sip:+493012@trunk.example"),
        SipUri("tel:+493012"),
        Endpoint("PJSIP/agent-7/sip:0900@trunk"),
        Endpoint("PJSIP/agent-7&PJSIP/0900@trunk"),
        Endpoint("PJSIP/0900@agent-7"),
        Endpoint("Local/0900@from-internal"),
    ],
)
def test_what_hides_another_destination_is_not(target: Target) -> None:
    assert not ALLOWED.allows(target)


@given(st.text(max_size=30), st.text(alphabet="/@:;,&|()?= \n", min_size=1, max_size=1))
def test_a_wildcard_never_reaches_into_the_next_part(text: str, separator: str) -> None:
    assert not ALLOWED.allows(Endpoint(f"PJSIP/agent-{text}{separator}x"))


@given(st.text(max_size=40))
def test_an_empty_list_allows_nobody(text: str) -> None:
    targets: tuple[Target, ...] = (Queue(text), Extension(text), SipUri(text), Endpoint(text))
    assert not any(AllowList().allows(target) for target in targets)


@pytest.mark.parametrize(
    ("to", "allowed"),
    [
        ("+14155550100", True),
        ("+900123456", False),
        ("sip:anna@desk.example", True),
        ("SIP:anna@desk.example", True),
        ("sip:anna@evil.example", False),
        ("sip:+14155550100@evil.example", False),
        ("+1415@evil.example", False),
    ],
)
def test_who_may_be_called_is_a_number_or_an_address_of_the_same_list(
    to: str, allowed: bool
) -> None:
    listed = AllowList({"number": ["+1*"], "sip": ["*@desk.example"]})
    assert listed.allows_call(to) is allowed


@given(st.text(max_size=40))
def test_an_empty_list_lets_nobody_be_called(to: str) -> None:
    assert not AllowList().allows_call(to)
