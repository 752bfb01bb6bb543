"""HTTP/2 frames read and written without h2, checked against hyperframe."""

from __future__ import annotations

from contextlib import suppress

import pytest
from h2.exceptions import FrameTooLargeError
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    PingFrame,
    WindowUpdateFrame,
)
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.sinks.h2_frames import FrameSieve, Sifted, data_header, message_header

stream_ids = st.integers(1, 2**31 - 1)
windows = st.builds(
    lambda stream, inc: WindowUpdateFrame(stream, window_increment=inc),
    st.integers(0, 2**31 - 1),
    st.integers(1, 2**31 - 1),
)
others = st.one_of(
    st.builds(DataFrame, stream_ids, st.binary(max_size=60)),
    st.builds(lambda data: PingFrame(0, data), st.binary(min_size=8, max_size=8)),
)


def sift(stream: bytes, step: int) -> Sifted:
    sieve, total = FrameSieve(), Sifted()
    for at in range(0, len(stream), step):
        part = sieve.feed(stream[at : at + step])
        total.rest += part.rest
        total.windows += part.windows
        total.goaway = part.goaway or total.goaway
    return total


@given(st.lists(st.one_of(windows, others), max_size=12), st.integers(1, 40))
def test_window_updates_are_taken_and_the_rest_is_left(frames: list[Frame], step: int) -> None:
    sifted = sift(b"".join(frame.serialize() for frame in frames), step)
    updates = [frame for frame in frames if isinstance(frame, WindowUpdateFrame)]
    left = [frame for frame in frames if not isinstance(frame, WindowUpdateFrame)]
    assert sifted.windows == [(frame.stream_id, frame.window_increment) for frame in updates]
    assert sifted.rest == b"".join(frame.serialize() for frame in left)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_sifted_or_left(parts: list[bytes]) -> None:
    sieve = FrameSieve()
    with suppress(FrameTooLargeError):
        for part in parts:
            sieve.feed(part)


def test_goaway_is_kept_from_h2() -> None:
    frame = GoAwayFrame(0, last_stream_id=7, error_code=11, additional_data=b"too_many_pings")
    sifted = FrameSieve().feed(frame.serialize())
    assert (sifted.goaway, sifted.rest) == ((7, 11), b"")


def test_an_increment_of_zero_is_left_for_h2_to_refuse() -> None:
    frame = b"\0\0\4\x08\0\0\0\0\1\0\0\0\0"
    assert FrameSieve().feed(frame).rest == frame


def test_a_frame_over_the_limit_is_refused_at_its_header() -> None:
    with pytest.raises(FrameTooLargeError):
        FrameSieve().feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@given(stream_ids, st.binary(max_size=60))
def test_a_data_header_is_that_of_hyperframe(stream_id: int, payload: bytes) -> None:
    expected = DataFrame(stream_id, payload).serialize()
    assert data_header(stream_id, len(payload)) + payload == expected


@given(stream_ids, st.binary(max_size=60))
def test_a_message_header_is_a_data_header_and_a_prefix(stream_id: int, body: bytes) -> None:
    prefixed = b"\0" + len(body).to_bytes(4, "big") + body
    assert message_header(stream_id, len(body)) + body == DataFrame(stream_id, prefixed).serialize()
