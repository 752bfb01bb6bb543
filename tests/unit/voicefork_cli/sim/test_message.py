"""SIP messages of the simulated parties."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voicefork_cli.sim.errors import WireError
from voicefork_cli.sim.message import Message, StreamFramer, Uri, parse_message, parse_uri

INVITE = Message(
    "INVITE sip:1@127.0.0.1 SIP/2.0",
    [
        ("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1;rport"),
        ("From", '"A, <B>" <sip:2@127.0.0.1>;tag=abc'),
        ("To", "<sip:1@127.0.0.1>"),
        ("Call-ID", "x@y"),
        ("CSeq", "7 INVITE"),
    ],
    b"v=0\r\n",
)


def test_a_message_is_read_back_as_it_was_written() -> None:
    read = parse_message(INVITE.encode())
    assert read.body == b"v=0\r\n"
    assert (read.method, read.uri, read.cseq) == ("INVITE", "sip:1@127.0.0.1", 7)
    assert (read.branch, read.from_tag, read.to_tag) == ("z9hG4bK1", "abc", "")
    assert read.get("content-length") == "5"


def test_the_length_stands_where_it_is_put() -> None:
    message = Message("BYE sip:a SIP/2.0", [("Content-Length", ""), ("User-Agent", "x")], b"ab")
    assert message.encode() == b"BYE sip:a SIP/2.0\r\nContent-Length: 2\r\nUser-Agent: x\r\n\r\nab"


def test_compact_names_and_folded_lines_are_understood() -> None:
    read = parse_message(
        b"SIP/2.0 183 Session Progress\r\nv: SIP/2.0/UDP a;branch=z9hG4bK2\r\n"
        b"f: <sip:a>;tag=1\r\nt: <sip:b>\r\n ;tag=2\r\ni: c\r\nCSeq: 1 INVITE\r\n\r\n"
    )
    assert (read.status, read.reason, read.method) == (183, "Session Progress", "INVITE")
    assert (read.call_id, read.to_tag) == ("c", "2")


def test_a_reply_takes_over_what_it_must() -> None:
    reply = INVITE.reply(486, "Busy Here", to_tag="t1", headers=[("X", "y")])
    assert reply.start == "SIP/2.0 486 Busy Here"
    assert [name for name, _ in reply.headers] == ["Via", "From", "To", "Call-ID", "CSeq", "X"]
    assert reply.to_tag == "t1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\n\r\n",
        INVITE.encode().replace(b"7 INVITE", b"x INVITE"),
        INVITE.encode().replace(b"branch", b"brunch"),
        b"SIP/2.0 abc OK\r\n\r\n",
    ],
)
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_message(data)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(noise: bytes) -> None:
    for data in (noise, INVITE.encode()[:60] + noise, b"SIP/2.0 " + noise + b"\r\n\r\n"):
        with contextlib.suppress(WireError):
            parse_message(data)


@given(st.lists(st.integers(1, 40), max_size=40))
def test_a_stream_is_cut_into_its_messages_however_it_arrives(cuts: list[int]) -> None:
    stream = INVITE.encode() + b"\r\n\r\n" + INVITE.reply(200, "OK", body=b"abc").encode()
    framer, out = StreamFramer(), []
    for size in cuts:
        out += framer.receive(stream[:size])
        stream = stream[size:]
    out += framer.receive(stream)
    assert [parse_message(data).body for data in out] == [b"v=0\r\n", b"abc"]


def test_a_stream_without_an_end_is_refused() -> None:
    with pytest.raises(WireError):
        StreamFramer().receive(b"x" * 300_000)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:127.0.0.1", Uri("", "127.0.0.1", 5060)),
        ("<sip:+1@127.0.0.1:5080;transport=TCP;lr>;tag=1", Uri("+1", "127.0.0.1", 5080, "tcp")),
        ('"sip <x>" <sip:srs@host:1>;+sip.srs', Uri("srs", "host", 1)),
        ("<<sip:127.0.0.1:5060>;+sip.src>", Uri("", "127.0.0.1", 5060)),
    ],
)
def test_uris_are_found_wherever_they_stand(text: str, uri: Uri) -> None:
    assert parse_uri(text) == uri


def test_a_text_without_uri_is_refused() -> None:
    with pytest.raises(WireError):
        parse_uri("tel:+1")
