"""gRPC messages cut out of a byte stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import VendorError
from siprec_worker.sinks.message_framing import MessageReader, prefixed


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 60))
def test_messages_survive_any_cutting(bodies: list[bytes], step: int) -> None:
    stream = b"".join(prefixed(body) for body in bodies)
    reader = MessageReader(50)
    read = [m for at in range(0, len(stream), step) for m in reader.feed(stream[at : at + step])]
    assert read == bodies
    assert not reader.unfinished


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_never_anything_but_vendor_error_on_any_bytes(parts: list[bytes]) -> None:
    reader = MessageReader(20)
    try:
        for part in parts:
            reader.feed(part)
    except VendorError:
        pass


def test_a_message_over_the_limit_is_refused_before_it_has_come() -> None:
    with pytest.raises(VendorError, match="message of 21 bytes"):
        MessageReader(20).feed(b"\0\0\0\0\x15")


def test_a_compressed_message_is_refused() -> None:
    with pytest.raises(VendorError, match="compressed"):
        MessageReader(20).feed(b"\1\0\0\0\1x")


def test_an_unfinished_message_is_known_as_such() -> None:
    reader = MessageReader(20)
    assert reader.feed(b"\0\0\0\0\2x") == []
    assert reader.unfinished
