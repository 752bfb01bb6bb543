"""SIP messages: what is taken, what is refused, and what replies copy."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import SipError, TooLarge
from siprec_worker.protocol.sip.message import BadMessage, Headers, Request, Response
from siprec_worker.protocol.sip.parsing import parse_message
from siprec_worker.protocol.sip.uri import parse_name_addr, parse_uri

from tests.builders.sip import request

TOKENS = st.text("abcXYZ-0189", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=30).map(str.strip)
HEADERS = st.lists(
    st.tuples(TOKENS.filter(lambda name: name.lower() not in ("content-length", "l")), VALUES),
    max_size=8,
)


def parsed(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


@given(HEADERS, st.binary(max_size=200))
def test_a_written_request_reads_back(headers: list[tuple[str, str]], body: bytes) -> None:
    written = Request(Headers(tuple(headers)), body, "INFO", "sip:a@b")
    read = parsed(written.encode())
    assert read.headers.items[:-1] == written.headers.items
    assert (read.method, read.uri, read.body) == ("INFO", "sip:a@b", body)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_a_sip_error(data: bytes) -> None:
    for prefix in (b"", b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n"):
        try:
            message = parse_message(prefix + data)
        except SipError:
            continue
        assert isinstance(message, Request | Response)


@given(st.text(max_size=60))
def test_any_text_is_a_name_addr_or_a_sip_error(text: str) -> None:
    with suppress(SipError):
        parse_uri(parse_name_addr(text).uri)


def test_compact_folded_and_repeated_headers_are_found() -> None:
    message = parsed(
        b"OPTIONS sip:a@b SIP/2.0\nv: SIP/2.0/UDP h1;branch=z9hG4bKa,\n SIP/2.0/UDP h2\n"
        b"Via: SIP/2.0/TCP h3\ni: id\nf: <sip:x@y>;tag=1\nt: z <sip:z@y>\nCSeq:  9   OPTIONS\n\n"
    )
    assert [via.split()[1].split(";")[0] for via in message.headers.values("via")] == [
        "h1", "h2", "h3",
    ]  # fmt: skip
    assert (message.call_id, message.from_tag, message.to_tag) == ("id", "1", "")
    assert (message.cseq.number, message.cseq.method) == (9, "OPTIONS")


def test_a_reply_copies_what_rfc_3261_names_and_adds_the_tag() -> None:
    asked = parsed(request("INVITE", headers=[("Record-Route", "<sip:r;lr>"), ("X-Y", "z")]))
    reply = asked.reply(200, body=b"x", headers=[("Server", "s")], to_tag="t")
    names = [name for name, _ in reply.headers.items]
    assert names == ["Via", "To", "From", "CSeq", "Call-ID", "Record-Route", "Server"]
    assert (reply.to_tag, reply.reason) == ("t", "OK")


def test_a_refusal_has_no_record_route_and_keeps_the_peers_tag() -> None:
    asked = parsed(request("BYE", to_tag="mine", headers=[("Record-Route", "<sip:r;lr>")]))
    reply = asked.reply(481, to_tag="other")
    assert "record-route" not in reply.headers
    assert reply.to_tag == "mine"


@pytest.mark.parametrize(
    ("via", "marked"),
    [
        ("SIP/2.0/UDP 1.2.3.4:5060;branch=b", "SIP/2.0/UDP 1.2.3.4:5060;branch=b"),
        ("SIP/2.0/UDP h;branch=b", "SIP/2.0/UDP h;branch=b;received=1.2.3.4"),
        (
            "SIP/2.0/UDP 1.2.3.4;rport;branch=b, SIP/2.0/UDP h",
            "SIP/2.0/UDP 1.2.3.4;branch=b;rport=77;received=1.2.3.4, SIP/2.0/UDP h",
        ),
        ("SIP/2.0/UDP h;received=6.6.6.6", "SIP/2.0/UDP h;received=1.2.3.4"),
    ],
)
def test_the_source_is_noted_in_the_top_via(via: str, marked: str) -> None:
    asked = parsed(request(via=via)).arrived_from("1.2.3.4", 77)
    assert asked.headers.get("via") == marked


def test_opensips_doubled_brackets_are_read_through() -> None:
    contact = parse_name_addr("<<sip:127.0.0.1:5060;transport=tcp>;+sip.src>")
    assert contact.uri == "sip:127.0.0.1:5060;transport=tcp"


def test_a_uri_is_taken_apart_at_its_last_at_sign() -> None:
    uri = parse_uri("sip:user;par=u%40example.net@[2001:db8::1]:5080;transport=TCP;lr?x=y")
    assert (uri.user, uri.host, uri.port) == ("user;par=u%40example.net", "2001:db8::1", 5080)
    assert (uri.transport, uri.loose_router, uri.headers) == ("tcp", True, "x=y")


def test_a_body_shorter_than_content_length_is_refused() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_message(request("INVITE", body=b"12345")[:-1])
    assert caught.value.request is not None


def test_bytes_beyond_content_length_are_dropped() -> None:
    assert parsed(request("INFO", body=b"12345") + b"junk").body == b"12345"


def test_two_content_lengths_are_refused() -> None:
    with pytest.raises(BadMessage):
        parse_message(request(headers=[("l", "7")]))


@pytest.mark.parametrize("number", ["2147483648", "99999999999", "-1", "", "x"])
def test_an_impossible_cseq_is_a_sip_error(number: str) -> None:
    message = parsed(request().replace(b"2 OPTIONS", f"{number} OPTIONS".encode()))
    with pytest.raises(SipError):
        assert message.cseq.method == "OPTIONS"


def test_too_many_header_bytes_are_too_large_and_can_be_refused() -> None:
    with pytest.raises(TooLarge) as caught:
        parse_message(request(headers=[("X", "y" * 20_000)]))
    assert caught.value.sip_status == 413


def test_too_large_a_message_is_refused() -> None:
    with pytest.raises(TooLarge):
        parse_message(request("INVITE", body=b"x" * 65_536))
