"""Whose call is it: header, metadata, fresh id; what may not become a key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.session.identity import Identity, identify, user_part

FRESH = "01990000-0000-7000-8000-000000000000"


def identified(headers: dict[str, str], *sip_session_ids: str, called: str = "") -> Identity:
    return identify(headers, sip_session_ids, called, lambda: FRESH, ("X-Voicefork-Trunk",))


def test_the_header_names_the_call_whatever_its_case() -> None:
    identity = identified({"x-voicefork-CALL": "0199-abc", "X-VOICEFORK-Direction": "out"})
    assert identity.call_id == "0199-abc"
    assert identity.direction == "out"
    assert identity.warnings == ()


def test_without_the_header_the_metadata_names_it_with_a_warning() -> None:
    identity = identified({}, "1-27115@127.0.0.10")
    assert identity.call_id == "1-27115@127.0.0.10"
    assert "sipSessionID" in identity.warnings[0]


def test_with_neither_it_gets_a_fresh_id() -> None:
    identity = identified({}, "not usable \n")
    assert identity.call_id == FRESH
    assert "fresh" in identity.warnings[0]


def test_a_tenant_that_could_forge_a_key_is_refused() -> None:
    identity = identified({"X-Voicefork-Call": "a", "X-Voicefork-Tenant": "x:call:y z"})
    assert identity.tenant == "default"
    assert identity.warnings


def test_the_did_is_the_called_user() -> None:
    identity = identified({"X-Voicefork-Call": "a"}, called="sip:+14155550199@127.0.0.1:5060")
    assert identity.did == "+14155550199"


def test_a_header_that_is_no_utf_8_reaches_the_ai_as_far_as_it_can_be_read() -> None:
    identity = identified({"X-Voicefork-Call": "a", "X-Voicefork-Trunk": "M\udcfcnchen"})
    assert dict(identity.headers) == {"X-Voicefork-Trunk": "M?nchen"}


def test_only_allowed_headers_reach_the_ai() -> None:
    identity = identified({"X-Voicefork-Call": "a", "X-Voicefork-Trunk": "t1", "X-Other": "no"})
    assert dict(identity.headers) == {"X-Voicefork-Trunk": "t1"}


def test_user_part_of_what_has_none_is_empty() -> None:
    assert user_part("sip:host") == ""
    assert user_part("tel:+1415;ext=1") == "+1415"


@given(st.dictionaries(st.text(), st.text()), st.lists(st.text()), st.text())
def test_any_headers_give_a_usable_id(
    headers: dict[str, str], sessions: list[str], called: str
) -> None:
    identity = identify(headers, sessions, called, lambda: FRESH)
    assert identity.call_id
    assert "\n" not in identity.call_id
    assert " " not in identity.tenant
