"""Telephone events (RFC 4733): one key press out of the many packets that carry it."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from siprec_worker.errors import RtpError

DIGITS = "0123456789*#ABCD"
"""Event codes 0 to 15 (section 3.2); others (flash, modem tones) are no keys."""

_EVENT = Struct("!BBH")
_END = 0x80
_LONGEST = 0xFFFF
_SILENT_SECONDS = 0.25
"""A press whose end was lost is over when its updates (every 20-50 ms) stay away this long."""


class TelephoneEvent(NamedTuple):
    code: int
    end: bool
    volume: int  # -dBm0
    duration: int  # in units of the RTP clock, since the event's timestamp


class KeyPress(NamedTuple):
    digit: str
    timestamp: int  # RTP timestamp of its beginning
    duration: int  # in units of the RTP clock


def parse_event(payload: bytes) -> TelephoneEvent:
    """The first event of a payload. Raises RtpError when it is shorter than four bytes."""
    if len(payload) < _EVENT.size:
        raise RtpError(f"telephone-event of {len(payload)} bytes")
    code, flags, duration = _EVENT.unpack_from(payload)
    return TelephoneEvent(code, bool(flags & _END), flags & 0x3F, duration)


def write_event(event: TelephoneEvent) -> bytes:
    flags = (_END if event.end else 0) | event.volume & 0x3F
    return _EVENT.pack(event.code, flags, event.duration)


class KeyReceiver:
    """Feed it every telephone-event packet of a stream; it gives each key once, when released.

    A press is known by its timestamp, which all its packets share. Repeated ends are swallowed; a
    lost end is made up for by the next press or by `handle_timeout`.
    """

    __slots__ = ("_begun", "_code", "_duration", "_ended_at", "_heard", "_segment", "pressed")

    def __init__(self) -> None:
        self._code: int | None = None  # the press under way
        self._begun = 0
        self._segment = 0
        self._duration = 0
        self._heard = 0.0
        self.pressed = False
        self._ended_at: int | None = None  # timestamp of the last packet's segment that is done

    def receive(self, payload: bytes, timestamp: int, now: float) -> list[KeyPress]:
        """Takes one packet; gives the presses it ends (two when the end of the first was lost)."""
        event = parse_event(payload)
        if event.code >= len(DIGITS) or self._is_old(timestamp):
            return []
        keys: list[KeyPress] = []
        if self._code is not None and timestamp != self._segment:
            if event.code == self._code and timestamp == (self._segment + _LONGEST) & 0xFFFFFFFF:
                # Section 2.5.1.3: a long press goes on in a new segment.
                self._segment = timestamp
            else:
                keys += self._finish()
        if self._code is None:
            self._code, self._duration, self.pressed = event.code, 0, True
            self._begun = self._segment = timestamp
        self._heard = now
        reach = ((self._segment - self._begun) & 0xFFFFFFFF) + event.duration
        self._duration = max(self._duration, reach)
        if event.end:
            keys += self._finish()
        return keys

    def handle_timeout(self, now: float) -> list[KeyPress]:
        """Ends a press whose end packets were all lost."""
        if self._code is not None and now - self._heard >= _SILENT_SECONDS:
            return self._finish()
        return []

    def _is_old(self, timestamp: int) -> bool:
        if self._ended_at is None:
            return False
        return (self._ended_at - timestamp) & 0xFFFFFFFF < 1 << 24

    def _finish(self) -> list[KeyPress]:
        if self._code is None:
            return []
        key = KeyPress(DIGITS[self._code], self._begun, self._duration)
        self._code, self._ended_at, self.pressed = None, self._segment, False
        return [key]
