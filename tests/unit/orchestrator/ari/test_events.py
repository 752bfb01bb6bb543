"""ARI events as Asterisk 22 sends them, and whatever else may arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.ari.events import (
    ApplicationReplaced,
    AriEvent,
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelHangupRequest,
    ChannelTransfer,
    Dial,
    PlaybackFinished,
    StasisEnd,
    StasisStart,
    parse_event,
)

CHANNEL = {
    "id": "1795359487.0",
    "name": "PJSIP/carrier-00000000",
    "state": "Ring",
    "caller": {"name": "", "number": "+14155550100"},
    "dialplan": {"context": "from-carrier", "app_data": "voicefork-0,inbound"},
    "channelvars": {"VOICEFORK_CALL": "c1"},
}
PARSED = Channel(
    "1795359487.0",
    "PJSIP/carrier-00000000",
    "Ring",
    "voicefork-0,inbound",
    (("VOICEFORK_CALL", "c1"),),
    "+14155550100",
)

CASES: list[tuple[dict[str, object], AriEvent]] = [
    (
        {"type": "StasisStart", "args": ["inbound", "x"], "channel": CHANNEL},
        StasisStart(PARSED, ("inbound", "x")),
    ),
    ({"type": "StasisEnd", "channel": CHANNEL}, StasisEnd(PARSED)),
    (
        {"type": "ChannelHangupRequest", "channel": CHANNEL, "cause": 16, "soft": True},
        ChannelHangupRequest(PARSED, 16, soft=True),
    ),
    ({"type": "ChannelDestroyed", "channel": CHANNEL, "cause": 17}, ChannelDestroyed(PARSED, 17)),
    (
        {"type": "ChannelDtmfReceived", "channel": CHANNEL, "digit": "5", "duration_ms": 120},
        ChannelDtmfReceived(PARSED, "5", 120),
    ),
    ({"type": "Dial", "peer": CHANNEL, "dialstatus": "RINGING"}, Dial(PARSED, "RINGING")),
    (
        {
            "type": "PlaybackFinished",
            "playback": {"id": "p", "target_uri": "channel:1", "state": "failed"},
        },
        PlaybackFinished("p", "channel:1", failed=True),
    ),
    (
        {
            "type": "ChannelTransfer",
            "refer_to": {"requested_destination": {"destination": "support"}},
            "referred_by": {"source_channel": CHANNEL},
        },
        ChannelTransfer(PARSED, "support"),
    ),
    ({"type": "ApplicationReplaced", "application": "a"}, ApplicationReplaced("a")),
]


@pytest.mark.parametrize(("message", "event"), CASES, ids=lambda case: type(case).__name__)
def test_an_event_is_read_as_asterisk_sends_it(message: dict[str, object], event: AriEvent) -> None:
    assert parse_event(message) == event


def test_a_channel_knows_the_application_it_is_in() -> None:
    assert PARSED.app == "voicefork-0"


def test_an_event_of_another_type_is_nobodys() -> None:
    assert parse_event({"type": "ChannelVarset"}) is None


KINDS = st.sampled_from([str(message["type"]) for message, _ in CASES])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(["channel", "bridge", "args", "cause", "playback", "peer", "refer_to"])


@given(KINDS, st.dictionaries(FIELDS, JSON))
def test_fields_that_are_missing_or_strange_never_raise(
    kind: str, fields: dict[str, object]
) -> None:
    assert parse_event({"type": kind, **fields}) is not None


@given(JSON)
def test_any_json_is_an_event_or_nothing(message: object) -> None:
    parse_event(message)
