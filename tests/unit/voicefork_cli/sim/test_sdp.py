"""Session descriptions of the simulated parties."""

from __future__ import annotations

import pytest
from voicefork_cli.sim.errors import WireError
from voicefork_cli.sim.sdp import AudioLine, audio_lines, fork_sdp, missing_codecs, phone_sdp

FORK = [
    AudioLine(
        "127.0.0.3",
        port,
        (0, 101),
        ("PCMU/8000", "telephone-event/8000"),
        "sendonly",
        label,
    )
    for port, label in ((40030, "1"), (40042, "0"))
]


def test_a_forks_offer_is_read_back() -> None:
    assert audio_lines(fork_sdp(FORK, 7)) == FORK


def test_a_phones_offer_is_read_back() -> None:
    (line,) = audio_lines(phone_sdp(("127.0.0.1", 4000), "PCMA", direction="sendonly"))
    assert (line.address, line.direction) == (("127.0.0.1", 4000), "sendonly")
    assert line.codecs == ("PCMA/8000", "telephone-event/8000")


def test_the_sessions_address_and_direction_hold_where_a_line_has_none() -> None:
    sdp = b"v=0\r\nc=IN IP4 10.0.0.1\r\na=recvonly\r\nm=audio 6 RTP/AVP 8\r\n"
    (line,) = audio_lines(sdp)
    assert (line.host, line.direction, line.codecs) == ("10.0.0.1", "recvonly", ("PCMA/8000",))


def test_video_is_passed_over_and_an_addressless_line_refused() -> None:
    assert audio_lines(b"v=0\r\nm=video 6 RTP/AVP 96\r\n") == []
    with pytest.raises(WireError):
        audio_lines(b"v=0\r\nm=audio 6 RTP/AVP 0\r\n")


def test_a_codec_left_out_is_named() -> None:
    offer, _ = FORK
    answer = AudioLine("h", 1, (0,), ("PCMU/8000",))
    assert missing_codecs(offer, answer) == ["telephone-event/8000"]
    assert missing_codecs(offer, offer) == []


def test_the_offer_is_written_as_rtpengine_writes_it() -> None:
    assert fork_sdp(FORK[:1], 5).decode() == (
        "v=0\r\no=- 5 5 IN IP4 127.0.0.3\r\ns=rtpengine-10-5-3-5-1-deb12u1\r\nt=0 0\r\n"
        "m=audio 40030 RTP/AVP 0 101\r\nc=IN IP4 127.0.0.3\r\na=label:1\r\n"
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n"
        "a=rtcp:40031\r\na=ptime:20\r\n"
    )
