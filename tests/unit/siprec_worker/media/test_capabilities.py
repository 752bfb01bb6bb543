"""What an answer may say yes to on a worker with everything installed."""

from __future__ import annotations

import pytest
from siprec_worker.errors import OfferRejected
from siprec_worker.media.capabilities import installed_capabilities
from siprec_worker.media.decode import LINEAR, make_decoder
from siprec_worker.protocol.codecs import Purpose
from siprec_worker.protocol.offer_answer import answer, first_offer
from siprec_worker.protocol.sdp import parse_sdp

from tests.builders.sdp import audio_line, sdp

CAPABILITIES = installed_capabilities()


def answered(*rtpmaps: str, extra: tuple[str, ...] = ()) -> list[str]:
    offer = parse_sdp(sdp(audio_line(rtpmaps=rtpmaps, extra=extra)))
    made = answer(offer, CAPABILITIES, "127.0.0.1", {0: 30000})
    return made.body.decode().split("\r\n")


def test_every_codec_of_the_table_can_be_decoded() -> None:
    for codec in CAPABILITIES.codecs:
        if codec.purpose is Purpose.SPEECH:
            assert make_decoder(codec.name, LINEAR, codec.rate) is not None, codec


@pytest.mark.parametrize(
    "rtpmap",
    ["9 G722/8000", "111 opus/48000/2", "96 L16/16000", "97 L16/8000", "98 L16/48000/1"],
)
def test_codecs_are_taken_as_they_are_offered(rtpmap: str) -> None:
    assert f"m=audio 30000 RTP/AVP {rtpmap.split(maxsplit=1)[0]}" in answered(rtpmap)


def test_keys_and_noise_are_taken_at_the_speechs_clock() -> None:
    lines = answered("111 opus/48000/2", "110 telephone-event/48000", "101 telephone-event/8000")
    assert "m=audio 30000 RTP/AVP 111 110 101" in lines
    lines = answered("96 L16/16000", "102 CN/16000", "103 telephone-event/16000")
    assert "m=audio 30000 RTP/AVP 96 102 103" in lines


def test_opus_is_asked_for_copies_of_lost_packets() -> None:
    lines = answered("111 opus/48000/2", extra=("a=fmtp:111 stereo=1;usedtx=1",))
    assert "a=fmtp:111 useinbandfec=1" in lines


@pytest.mark.parametrize("rtpmap", ["18 G729/8000", "11 L16/44100", "98 L16/16000/2", "3 GSM/8000"])
def test_others_are_refused(rtpmap: str) -> None:
    with pytest.raises(OfferRejected):
        answered(rtpmap)


def test_our_own_offer_is_of_what_a_telephone_network_speaks() -> None:
    offer = first_offer("127.0.0.1", [30000], CAPABILITIES)
    named = [(p.name, p.rate) for p in offer.media[0].payloads.values()]
    assert named == [
        ("PCMU", 8000),
        ("PCMA", 8000),
        ("G722", 8000),
        ("opus", 48_000),
        ("telephone-event", 8000),
        ("telephone-event", 48_000),
        ("CN", 8000),
    ]
