"""The rules of one call's talk with one AI: order, numbers, acknowledgements, what is shed.

Pure: no clock, no socket. A stream (h2 or grpc.aio) takes the messages out and puts the AI's in.
What waits here counts as un-acked; above the limit the oldest waiting audio is shed and told as
Gap SHED before the next audio that is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from siprec_worker.errors import VendorError
from siprec_worker.media.model import AudioFormat, Dtmf, Gap, GapCause, LegAudio, Speech
from siprec_worker.session.model import (
    ClockAnchor,
    Close,
    FromAgent,
    LegKind,
    Open,
    Opened,
    PartyChange,
    Role,
    ToAgent,
)
from siprec_worker.sinks import wire
from siprec_worker.sinks.audio_wire import AudioWriter
from siprec_worker.sinks.counters import StreamCounters
from siprec_worker.sinks.options import AgentOptions

Message = tuple[int, list[bytes]]
"""A serialised ConverseRequest: its length in bytes, and its bytes in pieces."""


_Event = TypeVar("_Event", bound=wire.Request)


@dataclass(frozen=True, slots=True)
class _Chunk:
    pts: int
    legs: Sequence[LegAudio]
    ms: int


def wanted_legs(opening: Open, opened: Opened) -> frozenset[int]:
    """The legs an AI gets: what it asked for, else all, a PRIMARY without what it says itself."""
    if opened.legs:
        return frozenset(opened.legs)
    deaf_to = LegKind.PBX if opening.role is Role.PRIMARY else None
    return frozenset(leg.handle for leg in opening.legs if leg.kind is not deaf_to)


class Conversation:
    """Open, then audio and events in order, then Close; and the AI's side of it."""

    def __init__(self, opening: Open, options: AgentOptions) -> None:
        self.opening = opening
        self.opened: Opened | None = None
        self.counters = StreamCounters()
        self.finished = False  # Close has been taken out: nothing follows
        self._max_events = options.max_queued_events
        self._silence_ms = round(options.silence_seconds * 1000)
        self._rate = opening.uplink.sample_rate
        self._bytes_per_ms = _bytes_per_ms(opening.uplink)
        self._queue: deque[_Chunk | wire.Request] = deque([opening])
        self._queued_events = 0
        self._queued_ms = 0
        self._gaps: dict[int, Gap] = {}  # shed and not told yet, by leg
        self._unacked: deque[tuple[int, int]] = deque()  # (seq, ms) of audio sent
        self._sent_ms = 0  # the sum of it
        # Before Opened everything that could be replayed after a break may wait.
        limits = opening.limits
        self._limit_ms = max(limits.max_unacked_ms, limits.replay_ms)
        self._backlog_seq = 0  # what waited for Opened is allowed on top until this is acked
        self._unheard_ms = 0  # audio offered since the AI was last heard
        self.silent = False  # so much of it that the AI must be dead
        self._seq = 0
        self._their_seq = 0
        self.ack_due = False  # something was heard that our Ack has not named yet
        self._closing = False
        self._writer = AudioWriter()

    # --- call -> AI ---------------------------------------------------------------------------

    @property
    def unacked_ms(self) -> int:
        return self._sent_ms + self._queued_ms

    @property
    def waiting(self) -> bool:
        return bool(self._queue)

    @property
    def overrun(self) -> bool:
        """Too many events wait: the AI does not read, and events cannot be shed."""
        return self._queued_events > self._max_events

    def audio(self, pts: int, legs: Sequence[LegAudio], may_send: bool) -> Message | None:
        """One chunk: the message to send now if `may_send`, or None when it waits here."""
        if self._closing or not legs:
            return None
        ms = len(legs[0].data) // self._bytes_per_ms or 1
        self._unheard_ms += ms
        if self._unheard_ms >= self._silence_ms:
            self.silent = True
        fits = self._sent_ms + ms <= self._limit_ms
        if may_send and fits and self.opened is not None and not self._queue and not self._gaps:
            return self._write_audio(pts, legs, ms)
        self._queue.append(_Chunk(pts, legs, ms))
        self._queued_ms += ms
        while self._queued_ms and self._sent_ms + self._queued_ms > self._limit_ms:
            self._shed_oldest()
        return None

    def event(self, message: ToAgent | wire.Ack) -> None:
        """Queues an event behind the audio and events that wait."""
        if not self._closing:
            self._queue.append(message)
            self._queued_events += 1

    def acknowledge(self) -> None:
        """Queues our Ack of everything heard so far."""
        if self.ack_due:
            self.ack_due = False
            self.event(wire.Ack(self._their_seq))

    def close(self, close: Close) -> None:
        """Queues the goodbye. What the AI has not been open for is dropped."""
        if self._closing:
            return
        if self.opened is None:
            self._queue.clear()
            self._gaps.clear()
            self._queued_ms = self._queued_events = 0
        self._queue.append(close)
        self._closing = True

    def next_message(self) -> Message | None:
        """The next message that may be sent, or None: nothing waits, or Opened has not come."""
        if not self._queue or (self.opened is None and self._seq and not self._closing):
            return None
        item = self._queue[0]
        if self._gaps and isinstance(item, _Chunk | Close):
            return self._write(self._gaps.pop(next(iter(self._gaps))))
        self._queue.popleft()
        match item:
            case _Chunk(pts, legs, ms):
                self._queued_ms -= ms
                return self._write_audio(pts, legs, ms)
            case Open():
                pass
            case Close():
                self.finished = True
            case _:
                self._queued_events -= 1
        return self._write(item)

    def _write(self, message: wire.Request) -> Message:
        self._seq += 1
        self.counters.messages_sent += 1
        body = wire.write_request(self._seq, message)
        return len(body), [body]

    def _write_audio(self, pts: int, legs: Sequence[LegAudio], ms: int) -> Message:
        self._seq = seq = self._seq + 1
        counters = self.counters
        counters.messages_sent += 1
        counters.audio_ms_sent += ms
        if self.opened is not None and not self.opened.no_ack:
            self._unacked.append((seq, ms))
            self._sent_ms += ms
        return self._writer.pieces(seq, pts, legs)

    def _shed_oldest(self) -> None:
        """Drops the oldest waiting audio; events keep their place, so there are few before it."""
        for place, item in enumerate(self._queue):
            if isinstance(item, _Chunk):
                del self._queue[place]
                self._queued_ms -= item.ms
                self._shed(item)
                return

    def _shed(self, chunk: _Chunk) -> None:
        self.counters.shed_ms += chunk.ms
        end = chunk.pts + chunk.ms * self._rate // 1000
        for leg in chunk.legs:
            told = self._gaps.get(leg.handle)
            start = told.from_pts if told else chunk.pts
            self._gaps[leg.handle] = Gap(leg.handle, start, end, GapCause.SHED)

    # --- AI -> call ---------------------------------------------------------------------------

    def heard(self) -> None:
        """A sign of life. Without Acks, taking our audio is one."""
        self._unheard_ms, self.silent = 0, False

    def receive(self, body: bytes) -> FromAgent | None:
        """One ConverseResponse; None when it was for this layer only, or is to be ignored.

        Raises VendorError for garbage, for an Opened that cannot be served, and for anything
        said before Opened.
        """
        heard = wire.read_response(body, self.opening)
        self.heard()
        self._their_seq = heard.seq or self._their_seq + 1
        self.counters.messages_received += 1
        self.counters.ignored += heard.unknown
        if isinstance(heard.message, wire.Ack):
            self._acknowledged(heard.message.seq)  # and not acked in turn, for ever
            return None
        message = self._accepted(heard.message)
        self.ack_due = self.acks
        return message

    def _accepted(self, message: FromAgent | None) -> FromAgent | None:
        match message:
            case None:
                return None
            case Opened() as opened if self.opened is None:
                self._admitted(opened)
                return opened
            case Opened():
                self.counters.ignored += 1
                return None
            case _ if self.opened is None:
                raise VendorError(f"the AI sent {type(message).__name__} before Opened")
            case _:
                return message

    @property
    def acks(self) -> bool:
        """Both sides acknowledge; False before Opened too."""
        return self.opened is not None and not self.opened.no_ack

    def _acknowledged(self, seq: int) -> None:
        if seq > self.counters.acked_seq:
            self.counters.acked_seq = min(seq, self._seq)
        while self._unacked and self._unacked[0][0] <= seq:
            self._sent_ms -= self._unacked.popleft()[1]
        if self._backlog_seq and seq >= self._backlog_seq:
            self._backlog_seq = 0
            self._limit_ms = self.opening.limits.max_unacked_ms

    def _admitted(self, opened: Opened) -> None:
        """Releases what waited: only the legs the AI gets, and in the format it has chosen."""
        wanted = wanted_legs(self.opening, opened)
        held, self._queue = self._queue, deque()
        self._queued_ms = self._queued_events = 0
        scale = opened.uplink.sample_rate / self._rate
        for item in held:
            match item:
                case _Chunk(pts, legs, ms):
                    self._release(_Chunk(pts, [x for x in legs if x.handle in wanted], ms), opened)
                case Gap(leg) if leg not in wanted:
                    pass
                case _:
                    self._queue.append(_rescaled(item, scale))
                    self._queued_events += 1
        gaps = (gap for gap in self._gaps.values() if gap.leg in wanted)
        self._gaps = {gap.leg: _rescaled(gap, scale) for gap in gaps}
        self.opened = opened
        self._rate = opened.uplink.sample_rate
        self._bytes_per_ms = _bytes_per_ms(opened.uplink)
        self._limit_ms = self.opening.limits.max_unacked_ms
        if self._queued_ms and not opened.no_ack:
            self._limit_ms += self._queued_ms
            self._backlog_seq = self._seq + len(self._queue) + len(self._gaps)

    def _release(self, chunk: _Chunk, opened: Opened) -> None:
        if chunk.legs and opened.uplink == self.opening.uplink:
            self._queue.append(chunk)
            self._queued_ms += chunk.ms
        elif chunk.legs:
            self._shed(chunk)  # it was made in the proposed format


def _bytes_per_ms(audio: AudioFormat) -> int:
    return audio.sample_rate * audio.bytes_per_sample // 1000


def _rescaled(item: _Event, scale: float) -> _Event:
    """The same place in the call, counted at the rate the AI has chosen."""
    if scale == 1:
        return item
    match item:
        case Gap():
            start, end = round(item.from_pts * scale), round(item.to_pts * scale)
            return replace(item, from_pts=start, to_pts=end)
        case ClockAnchor() | Speech() | Dtmf() | PartyChange():
            return replace(item, pts=round(item.pts * scale))
        case _:
            return item
