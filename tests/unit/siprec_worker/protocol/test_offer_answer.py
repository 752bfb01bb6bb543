"""Answers of a recording server: whole descriptions, and what the worker learns from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import OfferRejected, SdpError
from siprec_worker.protocol.codecs import NARROWBAND_CAPABILITIES, Capabilities, Codec
from siprec_worker.protocol.offer_answer import (
    Answer,
    accepted_lines,
    answer,
    first_offer,
    recordable_lines,
    reoffer,
)
from siprec_worker.protocol.sdp import Direction, Payload, parse_sdp

from tests.builders.sdp import audio_line, sdp

PORTS = {index: 30000 + 2 * index for index in range(64)}


def answered(
    body: bytes, capabilities: Capabilities = NARROWBAND_CAPABILITIES, version: int = 1
) -> Answer:
    return answer(parse_sdp(body), capabilities, "127.0.0.1", PORTS, version=version)


def test_the_answer_to_opensips_is_this_one() -> None:
    offer = sdp(audio_line("1", extra=["a=rtcp:40001", "a=ptime:20"]), audio_line("0", port=40002))
    assert answered(offer, version=3).body.decode().split("\r\n") == [
        "v=0",
        "o=- 1 3 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=audio 30000 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "a=recvonly",
        "a=label:1",
        "m=audio 30002 RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=recvonly",
        "a=label:0",
        "",
    ]


def test_the_lines_say_where_audio_comes_from() -> None:
    (line, _) = answered(sdp(audio_line("1", extra=["a=ptime:30"]), audio_line("0"))).lines
    assert (line.index, line.label, line.local_port) == (0, "1", 30000)
    assert (line.remote_host, line.remote_port, line.remote_rtcp_port) == (
        "127.0.0.3",
        40000,
        40001,
    )
    assert line.payloads == {0: Payload("PCMU", 8000), 101: Payload("telephone-event", 8000)}
    assert (line.ptime_ms, line.direction, line.on_hold) == (30, Direction.RECVONLY, False)


@given(st.binary(max_size=200))
def test_every_offered_line_is_answered_in_order(noise: bytes) -> None:
    try:
        offer = parse_sdp(sdp() + noise)
        made = answer(offer, NARROWBAND_CAPABILITIES, "127.0.0.1", PORTS)
    except (SdpError, OfferRejected):
        return
    assert [(m.kind, m.protocol, m.label) for m in made.sdp.media] == [
        (m.kind, m.protocol, m.label) for m in offer.media
    ]
    assert parse_sdp(made.body) == made.sdp


@pytest.mark.parametrize(
    ("offered", "answering"),
    [("sendonly", "recvonly"), ("sendrecv", "recvonly"), ("", "recvonly"),
     ("inactive", "inactive"), ("recvonly", "inactive")],
)  # fmt: skip
def test_the_direction_is_ours(offered: str, answering: str) -> None:
    made = answered(sdp(audio_line(direction=offered)))
    assert made.lines[0].direction.value == answering


def test_lines_that_cannot_be_recorded_mirror_the_offer_with_port_0() -> None:
    video = ["m=video 5004 RTP/AVPF 96 97", "a=rtpmap:96 H264/90000", "a=label:v"]
    secure = audio_line("s", protocol="RTP/SAVP")
    unknown = audio_line("u", rtpmaps=["96 EVS/16000"])
    only_events = audio_line("e", rtpmaps=["101 telephone-event/8000"])
    gone = audio_line("g", port=0)
    made = answered(sdp(video, secure, unknown, only_events, gone, audio_line("1")))
    assert [(m.port, m.protocol, m.formats, m.label) for m in made.sdp.media] == [
        (0, "RTP/AVPF", ("96", "97"), "v"),
        (0, "RTP/SAVP", ("0", "101"), "s"),
        (0, "RTP/AVP", ("96",), "u"),
        (0, "RTP/AVP", ("101",), "e"),
        (0, "RTP/AVP", ("0", "101"), "g"),
        (30010, "RTP/AVP", ("0", "101"), "1"),
    ]
    assert [line.index for line in made.lines] == [5]


def test_only_what_needs_a_port_is_asked_for() -> None:
    offer = parse_sdp(sdp(["m=video 5004 RTP/AVP 96"], audio_line("1")))
    assert recordable_lines(offer, NARROWBAND_CAPABILITIES) == (1,)


@pytest.mark.parametrize(
    "offer", [sdp(["m=video 5004 RTP/AVP 96"]), sdp(audio_line(rtpmaps=["18 G729/8000"])), sdp([])]
)
def test_an_offer_with_nothing_to_record_is_refused_with_488(offer: bytes) -> None:
    with pytest.raises(OfferRejected) as caught:
        answered(offer)
    assert caught.value.sip_status == 488


def test_another_codec_is_one_more_entry_in_the_table() -> None:
    opus = Codec("opus", 48000, 2)
    wide = replace(NARROWBAND_CAPABILITIES, codecs=(*NARROWBAND_CAPABILITIES.codecs, opus))
    offer = sdp(audio_line(rtpmaps=["96 OPUS/48000/2", "9 G722/8000", "0 PCMU/8000"]))
    assert list(answered(offer, wide).lines[0].payloads) == [96, 0]
    assert list(answered(offer).lines[0].payloads) == [0]


def test_rtcp_mux_is_agreed_only_if_we_can() -> None:
    offer = sdp(audio_line(extra=["a=rtcp-mux"]))
    without = answered(offer)
    muxed = answered(offer, replace(NARROWBAND_CAPABILITIES, rtcp_mux=True))
    assert (without.lines[0].remote_rtcp_port, muxed.lines[0].remote_rtcp_port) == (40001, 40000)
    assert (b"rtcp-mux" in without.body, b"rtcp-mux" in muxed.body) == (False, True)


def test_a_line_without_a_port_of_ours_is_refused() -> None:
    made = answer(parse_sdp(sdp()), NARROWBAND_CAPABILITIES, "127.0.0.1", {1: 30002})
    assert [m.port for m in made.sdp.media] == [0, 30002]


def test_our_own_offer_is_the_last_answer_at_another_place() -> None:
    before = answered(sdp(audio_line("1"), ["m=video 5 RTP/AVP 96"], audio_line("0"))).sdp
    offer = reoffer(before, "127.0.0.9", {0: 31000, 1: 31002, 2: 31004}, version=2)
    assert [m.port for m in offer.media] == [31000, 0, 31004]
    assert (offer.connection, offer.origin) == ("127.0.0.9", "- 1 2 IN IP4 127.0.0.9")
    assert offer.media[0].attributes == before.media[0].attributes


def test_the_answer_to_our_offer_tells_the_lines() -> None:
    ours = first_offer("127.0.0.1", [30000, 30002], NARROWBAND_CAPABILITIES)
    theirs = parse_sdp(sdp(audio_line("1", rtpmaps=["0 PCMU/8000"]), audio_line("2", port=0)))
    (line,) = accepted_lines(ours, theirs)
    assert (line.label, line.local_port, line.remote_port) == ("1", 30000, 40000)
    assert line.payloads == {0: Payload("PCMU", 8000)}
