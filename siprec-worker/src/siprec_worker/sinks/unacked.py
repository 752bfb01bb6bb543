"""What was sent to an AI and is not acknowledged: to be counted, and to be said again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import ToAgent
from siprec_worker.sinks.waiting_audio import Chunk


class Unacked:
    """Audio is bounded by who sends it; of the events the last `max_events` are kept."""

    __slots__ = ("_events", "audio", "ms")

    def __init__(self, max_events: int) -> None:
        # (seq, ms, pts, legs); whoever sends appends here itself, and counts `ms`: once per chunk.
        self.audio: deque[tuple[int, int, int, Sequence[LegAudio]]] = deque()
        self._events: deque[tuple[int, ToAgent]] = deque(maxlen=max_events)
        self.ms = 0  # of audio

    def add_event(self, seq: int, event: ToAgent) -> None:
        self._events.append((seq, event))

    def acknowledged(self, seq: int) -> None:
        """Forgets everything up to `seq`."""
        while self.audio and self.audio[0][0] <= seq:
            self.ms -= self.audio.popleft()[1]
        while self._events and self._events[0][0] <= seq:
            self._events.popleft()

    def in_order(self) -> list[Chunk | ToAgent]:
        sent: list[tuple[int, Chunk | ToAgent]] = [
            *((seq, Chunk(pts, legs, ms)) for seq, ms, pts, legs in self.audio),
            *self._events,
        ]
        return [item for _, item in sorted(sent, key=lambda pair: pair[0])]
