"""When to acknowledge: every so many milliseconds of audio taken, or when asked by a timer."""

from __future__ import annotations


class Acks:
    """Keeps what was taken and what was said about it. Not used in a no-ack conversation."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._audio_ms = 0.0  # taken since the last acknowledgement
        self._acked_seq = 0

    def took(self, audio_ms: float) -> None:
        """So much audio left the inbox, to the agent or dropped."""
        self._audio_ms += audio_ms

    @property
    def is_due(self) -> bool:
        return self._audio_ms >= self._interval_ms

    def acknowledge(self, seq: int) -> bool:
        """True when `seq` is news to the other side; starts the next interval."""
        self._audio_ms = 0.0
        if seq <= self._acked_seq:
            return False
        self._acked_seq = seq
        return True

    def restart(self) -> None:
        """A new stream counts from 1 again."""
        self._audio_ms, self._acked_seq = 0.0, 0
