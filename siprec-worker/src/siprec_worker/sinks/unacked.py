"""What was sent to an AI and is not acknowledged: to be counted, and to be said again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import ToAgent
from siprec_worker.sinks.waiting_audio import Chunk


class Unacked:
    """Audio is bounded by who sends it; of the events the last `max_events` are kept."""

    __slots__ = ("_events", "_runs", "audio", "ms")

    def __init__(self, max_events: int) -> None:
        # (seq, ms, pts, legs) of what may be said again; whoever sends appends, and counts `ms`.
        self.audio: deque[tuple[int, int, int, Sequence[LegAudio]]] = deque()
        self._runs: deque[tuple[int, int, int]] = deque()  # first and last seq, ms each
        self._events: deque[tuple[int, ToAgent]] = deque(maxlen=max_events)
        self.ms = 0  # of audio

    def add_run(self, first: int, last: int, ms: int) -> None:
        """Chunks that are only counted; by whoever sends, too, in `ms`."""
        self._runs.append((first, last, ms))

    def add_event(self, seq: int, event: ToAgent) -> None:
        self._events.append((seq, event))

    def acknowledged(self, seq: int) -> None:
        """Forgets everything up to `seq`."""
        while self.audio and self.audio[0][0] <= seq:
            self.ms -= self.audio.popleft()[1]
        while self._runs and self._runs[0][0] <= seq:
            first, last, ms = self._runs.popleft()
            end = min(last, seq)
            self.ms -= (end - first + 1) * ms
            if end < last:
                self._runs.appendleft((end + 1, last, ms))
        while self._events and self._events[0][0] <= seq:
            self._events.popleft()

    def in_order(self) -> list[Chunk | ToAgent]:
        sent: list[tuple[int, Chunk | ToAgent]] = [
            *((seq, Chunk(pts, legs, ms)) for seq, ms, pts, legs in self.audio),
            *self._events,
        ]
        return [item for _, item in sorted(sent, key=lambda pair: pair[0])]
