"""Session descriptions: round trip, leniency, inheritance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import SdpError
from siprec_worker.protocol.sdp import (
    Attribute,
    Direction,
    Media,
    Payload,
    SessionDescription,
    parse_sdp,
)

from tests.builders.sdp import audio_line, sdp

WORDS = st.text("abcXYZ019-.", min_size=1, max_size=10)
ATTRIBUTES = st.lists(
    st.builds(Attribute, WORDS, st.none() | st.text("ab :/=09", max_size=12).map(str.strip)),
    max_size=4,
).map(tuple)
HOSTS = st.sampled_from(["", "192.0.2.1", "2001:db8::1", "rtp.example"])
MEDIA = st.builds(
    Media,
    connection=HOSTS,
    attributes=ATTRIBUTES,
    kind=st.sampled_from(["audio", "video", "image"]),
    port=st.integers(0, 65535),
    protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "udptl"]),
    formats=st.lists(st.integers(0, 127).map(str), min_size=1, max_size=4).map(tuple),
)
DESCRIPTIONS = st.builds(
    SessionDescription,
    connection=HOSTS,
    attributes=ATTRIBUTES,
    origin=st.just("- 1 2 IN IP4 192.0.2.1"),
    name=WORDS,
    timing=st.just("0 0"),
    media=st.lists(MEDIA, max_size=4).map(tuple),
)


def only_media(*lines: str) -> Media:
    (media,) = parse_sdp("\r\n".join(lines).encode()).media
    return media


@given(DESCRIPTIONS)
def test_a_written_description_reads_back(description: SessionDescription) -> None:
    assert parse_sdp(description.encode()) == description


@given(st.binary(max_size=300))
def test_any_bytes_are_a_description_or_an_sdp_error(data: bytes) -> None:
    try:
        description = parse_sdp(b"v=0\r\n" + data)
    except SdpError:
        return
    for media in description.media:  # whatever was taken can be looked at
        assert media.payloads is not None
        assert 0 <= media.rtcp_port <= 65536
        assert description.direction_of(media)


def test_a_description_may_lack_everything_but_its_media() -> None:
    media = only_media("v=0", "m=audio 35011 RTP/AVP 0")
    assert media.payloads == {0: Payload("PCMU", 8000)}


def test_the_sessions_address_and_direction_are_inherited() -> None:
    description = parse_sdp(
        b"v=0\nc=IN IP4 192.0.2.1/127\na=inactive\n"
        b"m=audio 1 RTP/AVP 0\nm=audio 2 RTP/AVP 0\nc=IN IP6 ::1\na=sendonly\n"
    )
    first, second = description.media
    assert (description.address_of(first), description.address_of(second)) == ("192.0.2.1", "::1")
    assert description.direction_of(first) is Direction.INACTIVE
    assert description.direction_of(second) is Direction.SENDONLY


def test_without_a_direction_it_is_sendrecv() -> None:
    description = parse_sdp(sdp(audio_line(direction="")))
    assert description.direction_of(description.media[0]) is Direction.SENDRECV


@pytest.mark.parametrize(
    ("extra", "host", "held"),
    [
        (["a=sendonly"], "192.0.2.1", False),
        (["a=inactive"], "192.0.2.1", True),
        (["a=recvonly"], "192.0.2.1", True),
        (["a=sendonly"], "0.0.0.0", True),
    ],
)
def test_hold_is_seen(extra: list[str], host: str, held: bool) -> None:
    description = parse_sdp(sdp(audio_line(direction="", extra=extra), host=host))
    assert description.on_hold(description.media[0]) is held


def test_payloads_keep_order_fmtp_and_channels() -> None:
    media = only_media(
        "v=0", "m=audio 4 RTP/AVP 96 8 97 101 98",
        "a=rtpmap:96 opus/48000/2", "a=rtpmap:97 pcma/8000/1", "a=rtpmap:101 TELEPHONE-EVENT/8000",
        "a=fmtp:101 0-16", "a=fmtp:96 useinbandfec=1; x=2",
    )  # fmt: skip
    assert list(media.payloads.items()) == [
        (96, Payload("opus", 48000, 2, "useinbandfec=1; x=2")),
        (8, Payload("PCMA", 8000)),
        (97, Payload("pcma", 8000)),
        (101, Payload("TELEPHONE-EVENT", 8000, 1, "0-16")),
    ]


@pytest.mark.parametrize(
    ("attribute", "port"),
    [("a=x", 5001), ("a=rtcp:7000", 7000), ("a=rtcp:7000 IN IP4 1.2.3.4", 7000),
     ("a=rtcp-mux", 5000), ("a=rtcp:99999999", 5001)],
)  # fmt: skip
def test_the_rtcp_port_is_known(attribute: str, port: int) -> None:
    assert only_media("v=0", "m=audio 5000 RTP/AVP 0", attribute).rtcp_port == port


def test_label_ptime_and_crypto_are_kept() -> None:
    media = only_media(
        "v=0", "m=audio 5000 RTP/SAVP 0", "a=label:16777227", "a=ptime:30", "a=maxptime:150",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:k",
    )  # fmt: skip
    assert (media.label, media.ptime_ms, media.maxptime_ms) == ("16777227", 30, 150)
    assert media.crypto == ["1 AES_CM_128_HMAC_SHA1_80 inline:k"]


@pytest.mark.parametrize(
    "body",
    [b"", b"\r\n", b"v=1\r\n", b"v=0\r\nm=audio\r\n", b"v=0\r\nm=audio 99999 RTP/AVP 0\r\n",
     b"v=0\r\nm=audio x RTP/AVP 0\r\n", b"v=0\r\nnonsense\r\n", b"v=0\r\nc=IN\r\n",
     b"v=0\r\n" + b"m=audio 1 RTP/AVP 0\r\n" * 65],
)  # fmt: skip
def test_what_is_no_description_is_an_sdp_error(body: bytes) -> None:
    with pytest.raises(SdpError):
        parse_sdp(body)
