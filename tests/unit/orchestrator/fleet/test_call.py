"""Identities and halves of a call."""

from __future__ import annotations

import json
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.errors import PeerError
from orchestrator.fleet.call import (
    ForkHalf,
    PbxHalf,
    RtpAddress,
    mint_call_id,
    name_or_empty,
    parse_fork_half,
    write_pbx_half,
)

WRITTEN = {
    "worker_id": "w1",
    "control": "10.0.0.1:7000",
    "talkback_host": "10.0.0.1",
    "talkback_port": 30000,
    "sip_call_id": "s",
    "session_id": "x",
    "tenant": "default",
    "direction": "in",
    "legs": ["1", "2"],
}


def test_a_minted_id_is_a_uuid_of_version_7() -> None:
    minted = UUID(mint_call_id())
    assert (minted.version, minted.variant) == (7, "specified in RFC 4122")


def test_minted_ids_sort_by_time() -> None:
    assert mint_call_id()[:8] <= mint_call_id()[:8]


@pytest.mark.parametrize("hostile", ["", "a b", "a/b", "a:b", "a" * 65, "a\n", "../x", "é"])
def test_a_name_that_must_not_go_into_keys_is_dropped(hostile: str) -> None:
    assert name_or_empty(hostile) == ""


def test_a_workers_half_is_read() -> None:
    assert parse_fork_half(json.dumps(WRITTEN)) == ForkHalf(
        "w1", "10.0.0.1:7000", RtpAddress("10.0.0.1", 30000), "s", "x"
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("talkback_port", 0), ("talkback_port", 70000), ("control", ""), ("talkback_host", "")],
)
def test_a_half_that_cannot_be_dialled_is_refused(field: str, value: object) -> None:
    with pytest.raises(PeerError):
        parse_fork_half(json.dumps({**WRITTEN, field: value}))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_a_half_or_a_peer_error(text: bytes | str) -> None:
    with suppress(PeerError):
        parse_fork_half(text)


JSON = st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=4)


@given(st.dictionaries(st.sampled_from(sorted(WRITTEN)), JSON))
def test_any_fields_are_a_half_or_a_peer_error(fields: dict[str, object]) -> None:
    with suppress(PeerError):
        parse_fork_half(json.dumps(fields))


def test_our_half_says_where_the_caller_is() -> None:
    half = PbxHalf("10.0.0.2:7070", "ast-1", "voicefork-0", "17.1", "ulaw", "seeking")
    assert json.loads(write_pbx_half(half)) == {
        "orchestrator": "10.0.0.2:7070",
        "node": "ast-1",
        "app": "voicefork-0",
        "channel_id": "17.1",
        "codec": "ulaw",
        "state": "seeking",
    }
