"""One call's conversation with one AI on a stream of a shared HTTP/2 connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from siprec_worker.errors import VendorError
from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import AgentLost, Close, FromAgent, Open, Opened, ToAgent
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.counters import StreamCounters
from siprec_worker.sinks.message_framing import MessageReader
from siprec_worker.sinks.nobody import nobody
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.waiting_audio import Backlog

if TYPE_CHECKING:
    from h2.stream import H2Stream as Half

    from siprec_worker.sinks.h2_connection import Connection

log = logging.getLogger(__name__)


class StreamOwner(Protocol):
    """Who places streams on connections and sums up what they counted."""

    def ended(self, stream: H2Stream) -> None:
        """The stream is over: it is on no connection any more."""


class H2Stream:
    """AgentStream on HTTP/2. `connection` and `stream_id` are set once it has been placed."""

    __slots__ = (
        "_ack_alarm", "_alarm", "_closing", "_loop", "_options", "_over", "_owner", "_placed_at",
        "_reader", "_receiver", "connection", "deadline", "free", "going_away", "half", "rest",
        "stream_id", "talk",
    )  # fmt: skip

    def __init__(
        self,
        opening: Open,
        receiver: Callable[[FromAgent], None],
        options: AgentOptions,
        owner: StreamOwner,
    ) -> None:
        self.talk = Conversation(opening, options)
        self.connection: Connection | None = None
        self.stream_id = 0
        self.half: Half | None = None  # h2's state of it, whose window a message has to fit
        self.going_away: Callable[[], None] | None = None  # to be told of its server's leaving
        self.free = False  # placed, and nothing of it waits for a window or the socket
        self.rest = b""  # of a message that a window cut in two
        self._receiver = receiver
        self._options = options
        self._owner = owner
        self._reader = MessageReader(options.max_message_bytes)
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + options.opening_seconds
        self._alarm = self._loop.call_at(self.deadline, self._opening_ran_out)
        self._ack_alarm: asyncio.TimerHandle | None = None
        self._placed_at = 0.0
        self._closing = False
        self._over = False

    @property
    def closing(self) -> bool:
        return self._closing

    @property
    def stats(self) -> StreamCounters:
        return self.talk.counters

    @property
    def unacked_ms(self) -> int:
        return self.talk.unacked_ms

    @property
    def outstanding(self) -> tuple[int, int]:
        return self.stats.acked_seq, self.unacked_ms

    def left(self) -> tuple[bytes, ...]:
        return self.talk.left()

    # --- AgentStream --------------------------------------------------------------------------

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        if self._over:
            return
        talk, connection = self.talk, self.connection
        message = talk.audio(pts, legs, self.free)
        if message is not None and connection is not None:
            connection.sender.write(self, message[0], message[1])
        elif self.free and connection is not None:
            connection.sender.pump(self)
        if talk.silent:
            if connection is not None and not connection.heard_lately(self._options):
                connection.retire()  # the path may be dead: another stream takes another
            seconds = self._options.silence_seconds
            self.lost_soon(AgentLost(f"nothing from the AI for {seconds:g} s of audio"))

    def send(self, message: ToAgent) -> None:
        if self._over:
            return
        self.talk.event(message)
        self._pump()
        if self.talk.overrun:
            self.lost_soon(AgentLost("the AI does not read: too many events wait"))

    def close(self, close: Close) -> None:
        if self._closing or self._over:
            return
        self._closing = True
        self._cancel_alarms()
        if self.connection is None:
            self._end()
            return
        self.talk.close(close)
        self._alarm = self._loop.call_later(self._options.close_seconds, self._end)
        self._pump()

    # --- resuming ------------------------------------------------------------------------------

    def backlog(self) -> Backlog | None:
        return self.talk.backlog()

    def replay(self, backlog: Backlog, *, known: bool) -> None:
        self.talk.replay(backlog.items, known=known)
        self._pump()

    def abandon(self) -> None:
        if not self._over:
            self._closing = True
            self._end()

    # --- from the connection ------------------------------------------------------------------

    def placed(self, connection: Connection, stream_id: int, half: Half) -> None:
        self.connection, self.stream_id, self.half = connection, stream_id, half
        self.free = True
        self._placed_at = self._loop.time()
        connection.sender.pump(self)

    def received(self, data: bytes) -> None:
        """DATA of the stream: whole messages are delivered in order."""
        try:
            for body in self._reader.feed(data):
                if self._closing or self._over:
                    return
                message = self.talk.receive(body)
                if message is not None:
                    self._deliver(message, self._receiver)
        except VendorError as error:
            self.lost(AgentLost(str(error), retryable=False))
            return
        self._acknowledge_later()
        self._pump()

    def window_opened(self) -> None:
        if not self.talk.acks:
            self.talk.heard()  # without Acks the window is how the AI says that it goes on taking

    def lost(self, lost: AgentLost) -> None:
        """Ends the stream for good and tells the receiver, unless it has said goodbye."""
        if not self._over:
            receiver = self._receiver
            self._end()
            if not self._closing:
                self._deliver(lost, receiver)

    def lost_soon(self, lost: AgentLost) -> None:
        """As `lost`, after the caller's turn: a session is not called back while it sends."""
        self._loop.call_soon(self.lost, lost)

    # --- inside -------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self.free and self.connection is not None:
            self.connection.sender.pump(self)

    def _deliver(self, message: FromAgent, receiver: Callable[[FromAgent], None]) -> None:
        if isinstance(message, Opened):
            self._alarm.cancel()
        try:
            receiver(message)
        except Exception:  # our own bug in one call must not cost the others on this connection
            log.exception("receiver failed on %s", type(message).__name__)

    def _acknowledge_later(self) -> None:
        if self.talk.ack_due and self._ack_alarm is None and not self._closing:
            self._ack_alarm = self._loop.call_later(self._options.ack_seconds, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_alarm = None
        self.talk.acknowledge()
        self._pump()

    def _opening_ran_out(self) -> None:
        connection = self.connection
        if connection is not None and connection.heard_at < self._placed_at:
            connection.retire()  # not a byte since: the path may be dead, new calls take another
        missed = "no connection to the AI" if connection is None else "not opened"
        self.lost(AgentLost(f"{missed} within {self._options.opening_seconds:g} s"))

    def _end(self) -> None:
        self._over = True
        self._receiver, self.going_away = nobody, None
        self._cancel_alarms()
        self.free, self.rest = False, b""
        if self.connection is not None:
            self.connection.release(self)
        self._owner.ended(self)

    def _cancel_alarms(self) -> None:
        self._alarm.cancel()
        if self._ack_alarm is not None:
            self._ack_alarm.cancel()
