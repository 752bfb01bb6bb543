"""Telephone events: one key for many packets, whatever is lost of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import PeerError, RtpError
from siprec_worker.protocol.dtmf import (
    DIGITS,
    KeyPress,
    KeyReceiver,
    TelephoneEvent,
    parse_event,
    write_event,
)

EVENTS = st.builds(
    TelephoneEvent,
    code=st.integers(0, 255),
    end=st.booleans(),
    volume=st.integers(0, 63),
    duration=st.integers(0, 0xFFFF),
)


def press(digit: str, timestamp: int, *, ends: int = 3) -> list[tuple[int, bytes]]:
    """(timestamp, payload) of each packet of a press of 100 ms."""
    code = DIGITS.index(digit)
    updates = [(code, False, duration) for duration in (160, 320, 480, 640)]
    packets = [*updates, *[(code, True, 800)] * ends]
    return [
        (timestamp, write_event(TelephoneEvent(code, end, 10, duration)))
        for code, end, duration in packets
    ]


def keys_of(
    packets: list[tuple[int, bytes]], receiver: KeyReceiver | None = None
) -> list[KeyPress]:
    receiver = receiver or KeyReceiver()
    return [
        key
        for at, (timestamp, payload) in enumerate(packets)
        for key in receiver.receive(payload, timestamp, at * 0.02)
    ]


@given(EVENTS)
def test_what_was_written_is_read_back(event: TelephoneEvent) -> None:
    assert parse_event(write_event(event)) == event


@given(st.binary(max_size=8), st.integers(0, 0xFFFFFFFF))
def test_any_payload_is_taken_or_a_peer_error(payload: bytes, timestamp: int) -> None:
    with contextlib.suppress(PeerError):
        KeyReceiver().receive(payload, timestamp, 0.0)


def test_a_short_payload_is_refused() -> None:
    with pytest.raises(RtpError, match="3 bytes"):
        parse_event(b"\x01\x80\x01")


def test_repeated_ends_are_one_key() -> None:
    assert keys_of(press("5", 1000)) == [KeyPress("5", 1000, 800)]


def test_the_same_key_twice_is_two_keys() -> None:
    keys = keys_of(press("5", 1000) + press("5", 3000))
    assert keys == [KeyPress("5", 1000, 800), KeyPress("5", 3000, 800)]


def test_only_ends_are_enough() -> None:
    assert keys_of(press("#", 1000)[-1:]) == [KeyPress("#", 1000, 800)]


def test_a_press_without_an_end_is_ended_by_the_next() -> None:
    keys = keys_of(press("1", 1000, ends=0) + press("2", 3000))
    assert keys == [KeyPress("1", 1000, 640), KeyPress("2", 3000, 800)]


def test_a_press_without_an_end_is_ended_by_silence() -> None:
    receiver = KeyReceiver()
    assert keys_of(press("1", 1000, ends=0), receiver) == []
    assert receiver.handle_timeout(0.1) == []
    assert receiver.handle_timeout(0.4) == [KeyPress("1", 1000, 640)]
    assert not receiver.pressed


def test_an_end_after_the_timeout_is_no_second_key() -> None:
    receiver = KeyReceiver()
    keys_of(press("1", 1000, ends=0), receiver)
    receiver.handle_timeout(1.0)
    assert keys_of(press("1", 1000)[-1:], receiver) == []


def test_a_late_packet_of_an_older_press_is_ignored() -> None:
    receiver = KeyReceiver()
    keys_of(press("1", 1000) + press("2", 3000), receiver)
    assert keys_of(press("1", 1000)[:1], receiver) == []
    assert not receiver.pressed


def test_a_press_longer_than_a_segment_is_one_key() -> None:
    begin, second = 1000, 1000 + 0xFFFF
    packets = [
        (begin, write_event(TelephoneEvent(3, False, 10, 0xFFFF))),
        (second, write_event(TelephoneEvent(3, False, 10, 160))),
        (second, write_event(TelephoneEvent(3, True, 10, 320))),
    ]
    assert keys_of(packets) == [KeyPress("3", begin, 0xFFFF + 320)]


def test_events_that_are_no_keys_are_ignored() -> None:
    assert keys_of([(1000, write_event(TelephoneEvent(16, True, 10, 800)))]) == []


@given(
    st.lists(st.sampled_from(DIGITS), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
    st.integers(0, 0xFFFFFFFF),
)
def test_any_loss_that_leaves_one_packet_of_each_press_loses_no_key(
    digits: list[str], random: object, begin: int
) -> None:
    choice = getattr(random, "sample")  # noqa: B009 - hypothesis types it loosely
    receiver = KeyReceiver()
    heard = []
    for number, digit in enumerate(digits):
        packets = press(digit, (begin + number * 2000) & 0xFFFFFFFF)
        kept = sorted(choice(range(len(packets)), choice(range(1, len(packets)), 1)[0]))
        heard += keys_of([packets[index] for index in kept], receiver)
    heard += receiver.handle_timeout(1e9)
    assert [key.digit for key in heard] == digits
