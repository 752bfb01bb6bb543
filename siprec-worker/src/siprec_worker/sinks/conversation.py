"""The rules of one call's talk with one AI: order, numbers, acknowledgements, what is shed.

Pure: no clock, no socket. A stream (h2 or grpc.aio) takes the messages out and puts the AI's in.
What waits here counts as un-acked. Above half of the limit messages grow (pressure.py); at the
limit the oldest waiting audio is shed and told as Gap SHED before the next audio that is sent.
What was sent is kept until it is acked: a stream that goes on with a broken one says it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from siprec_worker.errors import VendorError
from siprec_worker.media.model import Gap, GapCause, LegAudio
from siprec_worker.session.model import (
    Close,
    FromAgent,
    Open,
    Opened,
    Resume,
    ToAgent,
)
from siprec_worker.sinks import wire
from siprec_worker.sinks.agreed_form import bytes_per_ms, rescaled, wanted_legs
from siprec_worker.sinks.audio_wire import AudioWriter
from siprec_worker.sinks.counters import StreamCounters
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.pressure import Gauge, Pressure
from siprec_worker.sinks.unacked import Unacked
from siprec_worker.sinks.waiting_audio import Backlog, Chunk, ShedGaps, head_of, joined

Message = tuple[int, list[bytes]]
"""A serialised ConverseRequest: its length in bytes, and its bytes in pieces."""


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
        self._bytes_per_ms = bytes_per_ms(opening.uplink)
        self._queue: deque[Chunk | wire.Request] = deque([opening])
        self._queued_events = 0
        self._queued_ms = 0
        self._slot_ms = opening.chunk_ms
        self._gaps = ShedGaps()
        self._unacked = Unacked(options.max_queued_events)
        # Before Opened everything that could be replayed after a break may wait.
        limits = opening.limits
        self._limit_ms = max(limits.max_unacked_ms, limits.replay_ms)
        self._gauge = Gauge(limits.max_unacked_ms, opening.chunk_ms)
        self._calm_ms = 0  # up to so much un-acked a chunk is sent as it comes
        self._pressure_due = False
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
        return self._unacked.ms + self._queued_ms

    @property
    def waiting(self) -> bool:
        return bool(self._queue) or self._pressure_due

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
        calm = self._unacked.ms + ms <= self._calm_ms
        if may_send and calm and self.opened and not self._queue and not self._gaps.waiting:
            return self._write_audio(pts, legs, ms)
        self._wait(Chunk(pts, legs, ms))
        return None

    def replay(self, items: Sequence[Chunk | ToAgent], *, known: bool) -> None:
        """What a broken stream left: queued as it was cut, flagged LATE.

        Not `known` to the AI is the call that it was of: then the audio is only told, as a Gap.
        """
        replayed_ms = 0
        for item in items:
            if not isinstance(item, Chunk):
                self.event(item)
            elif known:
                replayed_ms += item.ms
                self._queue.append(item.replayed())
            else:
                self._shed(item, GapCause.RESUME_TOO_OLD)
        self._queued_ms += replayed_ms
        self._allow(replayed_ms)

    def backlog(self) -> Backlog | None:
        """What another stream has to say again; None when this one cannot be gone on with."""
        acked_seq = self.counters.acked_seq
        match self.opened, self.opening.resume:
            case Opened(no_ack=False, resume_token=token), _ if token and not self._closing:
                pass
            case None, Resume(token, acked_seq) if not self._closing:
                pass
            case _:
                return None
        items = [*self._unacked.in_order(), *self._gaps]
        kept = (x for x in self._queue if not isinstance(x, Open | Close | wire.Ack | Pressure))
        return Backlog(token, acked_seq, [*items, *kept])

    def _wait(self, chunk: Chunk) -> None:
        self._queue.append(chunk)
        self._queued_ms += chunk.ms
        shed = False
        while self._queued_ms and self._unacked.ms + self._queued_ms > self._limit_ms:
            shed = self._shed_oldest()
        self._weigh(shed=shed)

    def _weigh(self, *, shed: bool = False) -> None:
        """Grows or shrinks the messages. A backlog that is allowed on top is no pressure."""
        if self.opened is not None:
            extra_ms = self._limit_ms - self.opening.limits.max_unacked_ms
            if self._gauge.weigh(self.unacked_ms - extra_ms, shed=shed):
                self._pressure_due = True
            calm_ms = self._gauge.calm_ms
            self._calm_ms = calm_ms + extra_ms if calm_ms >= 0 else calm_ms

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
            self._gaps.take()
            self._queued_ms = self._queued_events = 0
        self._queue.append(close)
        self._closing = True

    def next_message(self) -> Message | None:
        """The next message that may be sent, or None: nothing waits, or Opened has not come."""
        if self._pressure_due and not self.finished:
            self._pressure_due = False
            gauge, shed_ms = self._gauge, self.counters.shed_ms
            return self._write(Pressure(gauge.level, self.unacked_ms, shed_ms, gauge.chunk_ms))
        if not self._queue or (self.opened is None and self._seq and not self._closing):
            return None
        item = self._queue[0]
        if self._gaps and isinstance(item, Chunk | Close):
            return self._write(self._gaps.pop())
        if isinstance(item, Chunk):
            return self._next_audio()
        self._queue.popleft()
        match item:
            case Open():
                pass
            case Close():
                self.finished = True
            case _:
                self._queued_events -= 1
        return self._write(item)

    def _next_audio(self) -> Message | None:
        """What a message holds now of the audio at the head; None while it may still fill."""
        most_ms = self._gauge.chunk_ms
        run, fills = head_of(self._queue, most_ms, self._rate)
        pressed = most_ms > self._slot_ms and self.unacked_ms < self._limit_ms
        if fills and pressed and not self._closing:
            return None
        for _ in run:
            self._queue.popleft()
        chunk = joined(run)
        self._queued_ms -= chunk.ms
        return self._write_audio(chunk.pts, chunk.legs, chunk.ms)

    def _write(self, message: wire.Request) -> Message:
        self._seq += 1
        if self.acks and not isinstance(message, Open | Close | wire.Ack | Pressure):
            self._unacked.add_event(self._seq, message)
        self.counters.messages_sent += 1
        body = wire.write_request(self._seq, message)
        return len(body), [body]

    def _write_audio(self, pts: int, legs: Sequence[LegAudio], ms: int) -> Message:
        self._seq = seq = self._seq + 1
        counters = self.counters
        counters.messages_sent += 1
        counters.audio_ms_sent += ms
        opened = self.opened
        if opened is not None and not opened.no_ack:
            unacked = self._unacked
            # Without a token nothing is ever sent again, and 30 kB a call and second not kept.
            unacked.audio.append((seq, ms, pts, legs if opened.resume_token else ()))
            unacked.ms += ms
        return self._writer.pieces(seq, pts, legs)

    def _shed_oldest(self) -> bool:
        """Drops the oldest waiting audio; events keep their place, so there are few before it."""
        for place, item in enumerate(self._queue):
            if isinstance(item, Chunk):
                del self._queue[place]
                self._queued_ms -= item.ms
                resuming = self.opened is None and self.opening.resume is not None
                self._shed(item, GapCause.RESUME_TOO_OLD if resuming else GapCause.SHED)
                return True
        return False

    def _shed(self, chunk: Chunk, cause: GapCause) -> None:
        self.counters.shed_ms += chunk.ms
        self._gaps.add(chunk, self._rate, cause)

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
        self._unacked.acknowledged(seq)
        if self._backlog_seq and seq >= self._backlog_seq:
            self._backlog_seq = 0
            self._limit_ms = self.opening.limits.max_unacked_ms
        self._weigh()

    def _admitted(self, opened: Opened) -> None:
        """Releases what waited: only the legs the AI gets, and in the format it has chosen."""
        wanted = wanted_legs(self.opening, opened)
        held, self._queue = self._queue, deque()
        self._queued_ms = self._queued_events = 0
        scale = opened.uplink.sample_rate / self._rate
        for item in held:
            match item:
                case Chunk(pts, legs, ms):
                    self._release(Chunk(pts, [x for x in legs if x.handle in wanted], ms), opened)
                case Gap(leg) if leg not in wanted:
                    pass
                case _:
                    self._queue.append(rescaled(item, scale))
                    self._queued_events += 1
        gaps = (gap for gap in self._gaps.take() if gap.leg in wanted)
        self._gaps.keep([rescaled(gap, scale) for gap in gaps])
        self.opened = opened
        self._rate = opened.uplink.sample_rate
        self._bytes_per_ms = bytes_per_ms(opened.uplink)
        self._slot_ms = opened.chunk_ms
        self._limit_ms = self.opening.limits.max_unacked_ms
        self._gauge = Gauge(self._limit_ms, opened.chunk_ms)
        self._allow(self._queued_ms)

    def _allow(self, backlog_ms: int) -> None:
        """Lets what waits be un-acked on top of the limit, until the AI has taken it."""
        if backlog_ms and self.acks:
            self._limit_ms += backlog_ms
            self._backlog_seq = self._seq + len(self._queue) + len(self._gaps)
        self._weigh()

    def _release(self, chunk: Chunk, opened: Opened) -> None:
        if chunk.legs and opened.uplink == self.opening.uplink:
            self._queue.append(chunk)
            self._queued_ms += chunk.ms
        elif chunk.legs:
            self._shed(chunk, GapCause.SHED)  # it was made in the proposed format
