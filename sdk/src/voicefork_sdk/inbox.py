"""The events of one call between the stream and the agent's coroutine: bounded, in order.

Drop policy. Audio: at most `audio_limit_ms` waits; beyond it the oldest is dropped, counted, and
told as Gap SHED before the next audio. A stream that is resumed brings all that has waited for it
at once: that may wait here on top of the limit. Other events: at most 1,000 wait, beyond them the
newest is dropped and counted. Close is never dropped, and is the last event. What a resumed stream
says again and had arrived is skipped: audio, gaps, keys and speech, by their place in the call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from voicefork_sdk.events import Audio, Close, Dtmf, Event, Gap, Speech
from voicefork_sdk.model import AudioFormat, GapCause

_MAX_EVENTS = 1000
_REMEMBERED = 256  # as many as a worker says again
_BACKLOG_MS = 10_000  # the worker's replay_ms, and what waits while a call moves to another worker


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: Event
    seq: int
    audio_ms: float


class Inbox:
    """Filled by the stream, emptied by `take`."""

    def __init__(self, uplink: AudioFormat, chunk_ms: int, audio_limit_ms: int) -> None:
        self._uplink, self._chunk_ms, self._limit_ms = uplink, chunk_ms, audio_limit_ms
        self._waiting: deque[_Waiting] = deque()
        self._shed: dict[int, Gap] = {}
        self._close: Close | None = None
        self._filled = asyncio.Event()
        self._last_seq = 0
        self._received_pts = 0  # end of the audio received so far
        self._audio_ms = 0.0  # waiting
        self._others = 0  # waiting events that are not audio
        self._placed: deque[Event] = deque(maxlen=_REMEMBERED)  # the last gaps, keys, speech
        self._resumed = False
        self._backlog_to = 0  # up to this pts it may be what has waited for a resumed stream
        self.taken_pts = 0  # end of the audio taken or dropped so far
        self.audio_dropped_ms = 0.0
        self.events_dropped = 0

    @property
    def taken_seq(self) -> int:
        """Everything up to here needs no replay: what waits besides audio is safe here."""
        first = next((item.seq for item in self._waiting if item.audio_ms), None)
        return self._last_seq if first is None else max(0, first - 1)

    def put(self, event: Event | None, seq: int) -> float:
        """Queues what arrived as `seq`; milliseconds of audio dropped for it (mostly 0)."""
        self._last_seq = seq
        match event:
            case None:
                return 0.0
            case Close():
                self.close(event)
            case Audio():
                self._put_audio(event, seq)
            case Gap() | Dtmf() | Speech() if self._resumed and event in self._placed:
                return 0.0
            case _ if self._others >= _MAX_EVENTS:
                self.events_dropped += 1
            case _:
                self._others += 1
                self._waiting.append(_Waiting(event, seq, 0.0))
                if isinstance(event, Gap | Dtmf | Speech):
                    self._placed.append(event)
        self._filled.set()
        return self._shed_excess()

    def close(self, close: Close) -> None:
        """Makes `close` the last event; the first one wins."""
        self._close = self._close or close
        self._filled.set()

    def restart(self) -> None:
        """A new stream takes over: its seq counts afresh, audio already received is skipped."""
        self._last_seq, self._resumed = 0, True
        self._backlog_to = self._received_pts + self._samples(_BACKLOG_MS)
        self._waiting = deque(replace(item, seq=0) for item in self._waiting)

    async def take(self) -> tuple[Event, float]:
        """The next event and its milliseconds of audio; waits for one."""
        while True:
            if (taken := self._next()) is not None:
                return taken
            self._filled.clear()
            await self._filled.wait()

    def _next(self) -> tuple[Event, float] | None:
        if not self._waiting:
            return (self._close, 0.0) if self._close else None
        if self._shed and self._waiting[0].audio_ms:
            return self._shed.pop(next(iter(self._shed))), 0.0
        item = self._waiting.popleft()
        self._forget(item)
        return item.event, item.audio_ms

    def _put_audio(self, audio: Audio, seq: int) -> None:
        size = max((len(part.payload) for part in audio.legs), default=0)
        audio_ms = self._uplink.duration_ms(size) if size else float(self._chunk_ms)
        end = audio.pts + self._samples(audio_ms)
        if end <= self._received_pts:
            return  # replayed after a break, but it had arrived
        self._received_pts = end
        self._audio_ms += audio_ms
        self._waiting.append(_Waiting(audio, seq, audio_ms))

    def _shed_excess(self) -> float:
        dropped_ms, limit_ms = 0.0, self._limit_ms
        if self._received_pts <= self._backlog_to:
            limit_ms += _BACKLOG_MS
        while self._audio_ms > limit_ms:
            index = next(i for i, item in enumerate(self._waiting) if item.audio_ms)
            item = self._waiting[index]
            del self._waiting[index]
            self._forget(item)
            dropped_ms += item.audio_ms
            if isinstance(item.event, Audio):
                self._tell_shed(item.event, item.audio_ms)
        self.audio_dropped_ms += dropped_ms
        return dropped_ms

    def _tell_shed(self, audio: Audio, audio_ms: float) -> None:
        end = audio.pts + self._samples(audio_ms)
        for part in audio.legs:
            gap = self._shed.get(part.leg.handle)
            begun = gap.from_pts if gap else audio.pts
            self._shed[part.leg.handle] = Gap(part.leg, begun, end, GapCause.SHED)

    def _forget(self, item: _Waiting) -> None:
        self._audio_ms -= item.audio_ms
        if isinstance(item.event, Audio):
            self.taken_pts = item.event.pts + self._samples(item.audio_ms)
        else:
            self._others -= 1

    def _samples(self, audio_ms: float) -> int:
        return round(audio_ms * self._uplink.sample_rate / 1000)
