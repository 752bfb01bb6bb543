"""What a sink counted: per stream, and the sum over a connector's streams."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class StreamCounters:
    messages_sent: int = 0
    audio_ms_sent: int = 0
    shed_ms: int = 0  # audio dropped because the AI took it too slowly
    window_stalls: int = 0  # times a message had to wait for a flow-control window or the socket
    messages_received: int = 0
    ignored: int = 0  # unknown oneof members and enum values, a second Opened
    acked_seq: int = 0  # the last of our messages that the AI acknowledged

    def add(self, other: StreamCounters) -> None:
        """Sums everything but acked_seq, which means nothing across streams."""
        for field in fields(self):
            if field.name != "acked_seq":
                total = getattr(self, field.name) + getattr(other, field.name)
                setattr(self, field.name, total)


@dataclass(slots=True)
class Resumes:
    """What became of streams that broke or had to move, over all calls of a connector."""

    resumed: int = 0  # the AI knew the call
    anew: int = 0  # it did not: what it missed was told
    failed: int = 0  # no stream in time
    replayed_ms: int = 0  # audio sent again
    missed_ms: int = 0  # audio only told, as Gap RESUME_TOO_OLD

    def note(self, known: bool, backlog_ms: int) -> None:
        if known:
            self.resumed += 1
            self.replayed_ms += backlog_ms
        else:
            self.anew += 1
            self.missed_ms += backlog_ms
