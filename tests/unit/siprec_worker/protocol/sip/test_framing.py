"""A TCP stream cut into messages, however it arrives."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import TooLarge
from siprec_worker.protocol.sip.framing import StreamFramer, Unframeable
from siprec_worker.protocol.sip.message import BadMessage
from siprec_worker.protocol.sip.parsing import parse_message

from tests.builders.sip import request

MESSAGES = [
    request("OPTIONS"),
    request("INFO", body=b"\r\n\r\nContent-Length: 9\r\n\r\n"),
    request("INVITE", body=bytes(range(256))),
]


@given(st.lists(st.sampled_from(MESSAGES), max_size=5), st.data())
def test_any_split_gives_the_same_messages(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"\r\n\r\n".join([b"", *messages, b""])
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    framer, got = StreamFramer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += framer.receive(stream[start:end])
    assert got == messages
    assert framer.idle


def test_one_byte_at_a_time_is_enough() -> None:
    framer = StreamFramer()
    got = [m for byte in MESSAGES[1] for m in framer.receive(bytes([byte]))]
    assert got == [MESSAGES[1]]


def test_the_compact_length_counts() -> None:
    message = b"INFO sip:a SIP/2.0\r\nl: 3\r\n\r\nabc"
    assert StreamFramer().receive(message + message) == [message, message]


@given(st.binary(max_size=300))
def test_any_bytes_give_messages_or_a_sip_error(data: bytes) -> None:
    with suppress(Unframeable, TooLarge):
        StreamFramer().receive(data)


@pytest.mark.parametrize("length", [b"abc", b"70000", b"-1"])
def test_an_impossible_length_ends_the_stream_and_names_the_head(length: bytes) -> None:
    head = b"INFO sip:a SIP/2.0\r\nContent-Length: " + length + b"\r\n\r\n"
    with pytest.raises(Unframeable) as caught:
        StreamFramer().receive(head)
    assert caught.value.head == head


def test_headers_without_end_are_bounded() -> None:
    with pytest.raises(TooLarge):
        StreamFramer().receive((b"X: " + b"y" * 1000 + b"\r\n") * 70)


def test_a_body_without_length_ends_the_stream_with_a_head_that_is_refused() -> None:
    head = b"INFO sip:a SIP/2.0\r\nCall-ID: x\r\nContent-Type: text/plain\r\n\r\n"
    with pytest.raises(Unframeable) as caught:
        StreamFramer().receive(head + b"body")
    with pytest.raises(BadMessage) as refused:
        parse_message(caught.value.head)
    assert refused.value.sip_status == 400


def test_a_folded_length_counts() -> None:
    message = b"INFO sip:a SIP/2.0\r\nContent-Length:\r\n 3\r\n\r\nabc"
    assert StreamFramer().receive(message + message) == [message, message]


@given(st.lists(st.integers(0, 12), max_size=5).map(sorted))
def test_two_blank_lines_between_messages_are_a_ping(cuts: list[int]) -> None:
    framer, stream, pings = StreamFramer(), b"\r\n" * 6, 0
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        framer.receive(stream[start:end])
        pings += framer.pings()
    assert pings == 3
    framer.receive(b"\r\n" + MESSAGES[0] + b"\r\n")
    assert framer.pings() == 0
