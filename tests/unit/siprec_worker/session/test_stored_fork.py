"""What another worker needs of a fork, as bytes and back."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.carried import Tie
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.session.identity import Identity
from siprec_worker.session.model import (
    NARROWBAND,
    CallId,
    CallStatus,
    Leg,
    LegKind,
    Opened,
    Party,
    Role,
    SessionId,
)
from siprec_worker.session.seats import Stage
from siprec_worker.session.stored_fork import (
    MAX_BYTES,
    StoredChoice,
    StoredFork,
    StoredSeat,
    parse_stored_fork,
)

SDP = "\r\n".join(
    [
        "v=0", "o=- 5550123456789012 2 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
        *(
            line
            for label in "10"
            for line in (
                "m=audio 30000 RTP/AVP 0 8 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:20",
                "a=recvonly", f"a=label:{label}",
            )
        ),
    ]
)  # fmt: skip

TEXT = st.text(max_size=60)
NUMBER = st.integers(0, 2**31)
FORMATS = st.sampled_from(
    [AudioFormat(Encoding.PCM_S16LE, 16_000), AudioFormat(Encoding.G711_ULAW, 8000)]
)
OPENED = st.builds(
    Opened,
    FORMATS,
    st.sampled_from([20, 60]),
    FORMATS,
    st.tuples(st.just(1)),
    st.booleans(),
    TEXT,
)
DIALOGS = st.builds(
    DialogState,
    *([TEXT] * 6),
    st.lists(TEXT, max_size=3).map(tuple),
    NUMBER,
    NUMBER,
    TEXT,
    st.sampled_from(["udp", "tcp"]),
    TEXT,
    st.integers(0, 65535),
    st.booleans(),
)
IDENTITIES = st.builds(
    Identity,
    TEXT.map(CallId),
    TEXT,
    st.sampled_from(["in", "out"]),
    TEXT,
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.lists(TEXT, max_size=2).map(tuple),
)
FORKS = st.builds(
    StoredFork,
    DIALOGS,
    IDENTITIES,
    TEXT.map(SessionId),
    st.floats(0, 2e9),
    TEXT,
    TEXT,
    st.lists(
        st.builds(Leg, st.integers(1, 9), st.sampled_from(LegKind), TEXT, TEXT, TEXT), max_size=2
    ).map(tuple),
    st.lists(
        st.builds(
            StoredSeat,
            TEXT,
            st.sampled_from(Stage),
            st.none() | OPENED,
            NUMBER,
            st.none()
            | st.builds(StoredChoice, st.sampled_from(Role), FORMATS, st.booleans(), st.booleans()),
        ),
        max_size=2,
    ).map(tuple),
    st.none() | st.sampled_from(CallStatus),
    st.none() | st.sampled_from(Party),
    st.booleans(),
    st.booleans(),
    NUMBER,
    TEXT,
    st.dictionaries(st.integers(1, 9), st.builds(Tie, NUMBER, NUMBER, NUMBER), max_size=2),
    st.lists(TEXT, max_size=3).map(tuple),
    st.none() | TEXT,
)


@given(FORKS)
def test_what_is_written_is_read(fork: StoredFork) -> None:
    assert parse_stored_fork(fork.encode()) == fork


@given(st.binary() | st.binary().map(zlib.compress) | st.just(zlib.compress(b'{"v":1}')))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no stored fork"):
        parse_stored_fork(data)


def test_what_inflates_beyond_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        parse_stored_fork(zlib.compress(b" " * 1_000_000))


def test_a_usual_fork_takes_less_than_two_kilobytes() -> None:
    dialog = DialogState(
        "B2B.379.7268341.1763800000", "0123456789abcdef", "B2B.214.1763800000",
        "<sip:srs@127.0.0.1:5080>",
        "<sip:edge@127.0.0.1:5060>;tag=B2B.214.1763800000", "sip:127.0.0.1:5060;transport=tcp",
        (), 3, 5, SDP, "tcp", "127.0.0.1", 44_444,
    )  # fmt: skip
    fork = StoredFork(
        dialog,
        Identity(
            CallId("01a2047b-5ddb-7467-bac6-596fc257eebe"), "default", "in", "trunk-1", "",
            "+14155550199", {"X-Voicefork-Trunk": "trunk-1"},
        ),
        SessionId("01a2047b-5df9-7f9e-9122-63078a5a7348"),
        1763800000.123456,
        "default",
        "en-US",
        (
            Leg(1, LegKind.CUSTOMER, "1", "sip:+14155550100@carrier.example.com", "Alice"),
            Leg(2, LegKind.PBX, "0", "sip:+14155550199@pbx.example.com", ""),
        ),
        (
            StoredSeat(
                "grpc://agent.example.com:7000",
                Stage.OPEN,
                Opened(
                    NARROWBAND, 20, NARROWBAND, (1,), False, "kq3l5c1N9h9W8yqYxk0xIQ",
                ),
                123_456,
            ),
        ),
        CallStatus.ANSWERED,
        Party.BOT,
        ties={1: Tie(4_000_000_000, 3_000_000_000, 80_000), 2: Tie(1, 2, 80_000)},
    )  # fmt: skip
    assert len(fork.encode()) < MAX_BYTES
