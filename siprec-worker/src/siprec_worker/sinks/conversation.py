"""The rules of one call's talk with one AI: order, numbers, acknowledgements, what is shed.

Pure: no clock, no socket. A stream (h2 or grpc.aio) takes the messages out and puts the AI's in.
What waits here counts as un-acked. Above half of the limit messages grow (pressure.py); at the
limit the oldest waiting audio is shed and told as Gap SHED before the next audio that is sent.
What was sent is kept until it is acked: a stream that goes on with a broken one says it again.

While an AI keeps up, its chunks are *direct*: only `seq` moves. It says how many there were, so all
that is counted by the chunk is counted when something else happens (`_count_direct`).
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
from siprec_worker.sinks.left import read_left, write_left
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.pressure import Gauge, Pressure
from siprec_worker.sinks.unacked import Unacked
from siprec_worker.sinks.waiting_audio import Backlog, Chunk, ShedGaps, head_of, joined

Message = tuple[int, list[bytes]]
"""A serialised ConverseRequest: its length in bytes, and its bytes in pieces."""


class Conversation:
    """Open, then audio and events in order, then Close; and the AI's side of it."""

    __slots__ = (
        "_backlog_seq", "_bytes_per_ms", "_calm_ms", "_closing", "_counted_to", "_counters",
        "_direct_bytes", "_direct_ms", "_direct_to", "_gaps", "_gauge", "_keeps", "_limit_ms",
        "_max_events", "_pressure_due", "_queue", "_queued_events", "_queued_ms", "_rate", "_seq",
        "_silence_ms", "_slot_ms", "_their_seq", "_unacked", "_unheard_ms", "_writer", "ack_due",
        "finished", "opened", "opening", "silent",
    )  # fmt: skip

    def __init__(self, opening: Open, options: AgentOptions) -> None:
        self.opening = opening
        self.opened: Opened | None = None
        self._counters = StreamCounters()
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
        self._direct_to = 0  # up to this seq chunks of `_direct_bytes` a leg are direct
        self._direct_bytes = self._direct_ms = 0
        self._counted_to = 0  # the direct ones up to this seq are counted
        self._keeps = False  # what is sent may have to be said again
        self._their_seq = 0
        self.ack_due = False  # something was heard that our Ack has not named yet
        self._closing = False
        self._writer = AudioWriter()
        if opening.resume is not None and opening.resume.left:
            self.replay(read_left(opening.resume.left, opening.uplink), known=True)
            self._limit_ms += self._queued_ms

    # --- call -> AI ---------------------------------------------------------------------------

    @property
    def counters(self) -> StreamCounters:
        self._count_direct()
        return self._counters

    @property
    def unacked_ms(self) -> int:
        self._count_direct()
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
        if self._seq < self._direct_to and may_send and len(legs[0].data) == self._direct_bytes:
            self._seq = seq = self._seq + 1
            if self._keeps:
                self._unacked.audio.append((seq, self._direct_ms, pts, legs))
            return self._writer.pieces(seq, pts, legs)
        self._interrupt()
        if self._closing or not legs:
            return None
        ms = len(legs[0].data) // self._bytes_per_ms or 1
        self._unheard_ms += ms
        if self._unheard_ms >= self._silence_ms:
            self.silent = True
        calm = self._unacked.ms + ms <= self._calm_ms
        if may_send and calm and self.opened and not self._queue and not self._gaps.waiting:
            message = self._write_audio(pts, legs, ms)
            self._go_direct(len(legs[0].data), ms)
            return message
        self._wait(Chunk(pts, legs, ms))
        return None

    def _go_direct(self, size: int, ms: int) -> None:
        """Chunks like the last one need no look at the rules, as long as the AI could keep up."""
        calm = (self._calm_ms - self._unacked.ms) // ms
        heard = (self._silence_ms - self._unheard_ms - 1) // ms
        self._direct_bytes, self._direct_ms = size, ms
        self._direct_to = self._seq + max(0, min(calm, heard))

    def _count_direct(self) -> None:
        """Brings up to date what direct chunks have left behind."""
        chunks = self._seq - self._counted_to
        if chunks:
            ms = chunks * self._direct_ms
            self._counters.messages_sent += chunks
            self._counters.audio_ms_sent += ms
            self._unheard_ms += ms
            if self.acks:
                self._unacked.ms += ms
                if not self._keeps:
                    self._unacked.add_run(self._counted_to + 1, self._seq, self._direct_ms)
            self._counted_to = self._seq

    def _interrupt(self) -> None:
        """The next chunk is not direct."""
        self._count_direct()
        self._direct_to = 0

    def replay(self, items: Sequence[Chunk | ToAgent], *, known: bool) -> None:
        """What a broken stream left: queued as it was cut, flagged LATE.

        Not `known` to the AI is the call that it was of: then the audio is only told, as a Gap.
        """
        self._interrupt()
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
        self._interrupt()
        acked_seq = self._counters.acked_seq
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

    def left(self) -> tuple[bytes, ...]:
        """What another worker has to say again, as messages; see `backlog`."""
        backlog = self.backlog()
        return () if backlog is None else write_left(backlog.items, self._rate)

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
        self._interrupt()
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
        self._interrupt()
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
        self._interrupt()
        if self._pressure_due and not self.finished:
            self._pressure_due = False
            gauge, shed_ms = self._gauge, self._counters.shed_ms
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
        self._counted_to = self._seq
        if self.acks and not isinstance(message, Open | Close | wire.Ack | Pressure):
            self._unacked.add_event(self._seq, message)
        self._counters.messages_sent += 1
        body = wire.write_request(self._seq, message)
        return len(body), [body]

    def _write_audio(self, pts: int, legs: Sequence[LegAudio], ms: int) -> Message:
        self._counted_to = self._seq = seq = self._seq + 1
        counters = self._counters
        counters.messages_sent += 1
        counters.audio_ms_sent += ms
        if self.acks:
            self._unacked.ms += ms
            if self._keeps:
                self._unacked.audio.append((seq, ms, pts, legs))
            else:
                self._unacked.add_run(seq, seq, ms)
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
        self._counters.shed_ms += chunk.ms
        self._gaps.add(chunk, self._rate, cause)

    # --- AI -> call ---------------------------------------------------------------------------

    def heard(self) -> None:
        """A sign of life. Without Acks, taking our audio is one."""
        self._count_direct()
        self._unheard_ms, self.silent = 0, False

    def receive(self, body: bytes) -> FromAgent | None:
        """One ConverseResponse; None when it was for this layer only, or is to be ignored.

        Raises VendorError for garbage, for an Opened that cannot be served, and for anything
        said before Opened.
        """
        heard = wire.read_response(body, self.opening)
        self.heard()
        self._their_seq = heard.seq or self._their_seq + 1
        self._counters.messages_received += 1
        self._counters.ignored += heard.unknown
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
                self._counters.ignored += 1
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
        if seq > self._counters.acked_seq:
            self._counters.acked_seq = min(seq, self._seq)
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
        # Without a token nothing is ever sent again, and 30 kB a call and second not kept.
        self._keeps = self.acks and bool(opened.resume_token)
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
        if chunk.legs and chunk.late and not opened.resumed:
            self._shed(chunk, GapCause.RESUME_TOO_OLD)
        elif chunk.legs and opened.uplink == self.opening.uplink:
            self._queue.append(chunk)
            self._queued_ms += chunk.ms
        elif chunk.legs:
            self._shed(chunk, GapCause.SHED)  # it was made in the proposed format
