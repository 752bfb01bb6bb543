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
