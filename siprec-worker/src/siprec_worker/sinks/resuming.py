"""Calls that outlive their streams: what breaks, or has to leave its server, goes on with another.

    carried ── broken, worth another try ──→ held ── Opened ──→ carried: replayed, then live
       │                                       └─ no stream in time, or too many tries ──→ lost
       └── its server is going away ──→ carried still, until another stream has Opened

The session learns of none of it but the last. What the AI may not have of the old stream is said
again, flagged LATE; to an AI that has forgotten the call it is told as Gap RESUME_TOO_OLD.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from siprec_worker.media.model import LegAudio
from siprec_worker.session.model import (
    AgentLost,
    CallState,
    Close,
    CloseReason,
    Freeze,
    FromAgent,
    HandoffUpdate,
    Open,
    Opened,
    PartyChange,
    Resume,
    ToAgent,
)
from siprec_worker.session.ports import AgentConnector, AgentStream
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.counters import Resumes, StreamCounters
from siprec_worker.sinks.nobody import nobody
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.waiting_audio import Backlog

log = logging.getLogger(__name__)

_LEAVING_SECONDS = 1.0  # a stream that was replaced is read so much longer


class ReplayableStream(AgentStream, Protocol):
    """A stream that another one can go on with."""

    going_away: Callable[[], None] | None  # called when its server wants to be rid of it

    @property
    def stats(self) -> StreamCounters: ...

    def backlog(self) -> Backlog | None:
        """What another stream would have to say again; None when none can go on with this."""

    def replay(self, backlog: Backlog, *, known: bool) -> None:
        """Says it again, after Opened; or that it will not come, to whom the call is not known."""


class ReplayableConnector(AgentConnector, Protocol):
    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> ReplayableStream: ...


class _Held:
    """Stands in for the stream while there is none: keeps what is said, as far as replay_ms."""

    def __init__(self, opening: Open, options: AgentOptions, backlog: Backlog) -> None:
        resume = Resume(backlog.token, backlog.acked_seq)
        self._talk = Conversation(replace(opening, resume=resume), options)
        self._talk.replay(backlog.items, known=True)
        self.going_away: Callable[[], None] | None = None

    @property
    def stats(self) -> StreamCounters:
        return self._talk.counters

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        self._talk.audio(pts, legs, may_send=False)

    def send(self, message: ToAgent) -> None:
        if not self._talk.overrun:
            self._talk.event(message)

    def close(self, close: Close) -> None:
        """There is nobody to say it to."""

    def backlog(self) -> Backlog | None:
        return self._talk.backlog()

    def replay(self, backlog: Backlog, *, known: bool) -> None:
        self._talk.replay(backlog.items, known=known)

    def abandon(self) -> None:
        """There is nothing to end."""

    @property
    def outstanding(self) -> tuple[int, int]:
        return self.stats.acked_seq, self._talk.unacked_ms

    def left(self) -> tuple[bytes, ...]:
        return self._talk.left()


class ResumingStream:
    """AgentStream of a call, on one stream after the other."""

    def __init__(
        self,
        opening: Open,
        receiver: Callable[[FromAgent], None],
        connector: ReplayableConnector,
        options: AgentOptions,
        resumes: Resumes,
    ) -> None:
        self._opening = opening
        self._resumes = resumes
        self._receiver = receiver
        self._connector = connector
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._opened: Opened | None = None  # what the session was told
        self._state: dict[type, ToAgent] = {}  # the last of each kind that says how things are
        self._dials = 0
        self._next: tuple[int, ReplayableStream] | None = None
        self._lost_by: AgentLost | None = None  # while held: why
        self._tries = 0
        self._resumed_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._over = False
        self._carry(*self._dial(opening))

    @property
    def stats(self) -> StreamCounters:
        return self._stream.stats

    # --- AgentStream --------------------------------------------------------------------------

    def send(self, message: ToAgent) -> None:
        if isinstance(message, CallState | PartyChange | Freeze | HandoffUpdate):
            self._state.pop(type(message), None)  # the newest comes last
            self._state[type(message)] = message
        self._stream.send(message)

    def close(self, close: Close) -> None:
        self._end()
        self._stream.close(close)

    def abandon(self) -> None:
        self._end()
        self._stream.abandon()

    @property
    def outstanding(self) -> tuple[int, int]:
        return self._stream.outstanding

    def left(self) -> tuple[bytes, ...]:
        return self._stream.left()

    def _carry(self, number: int, stream: ReplayableStream) -> None:
        self._number, self._stream = number, stream
        self.send_audio = stream.send_audio  # as it is: once per chunk and call
        stream.going_away = self._move

    def _dial(self, opening: Open) -> tuple[int, ReplayableStream]:
        self._dials += 1
        return self._dials, self._connector.connect(opening, partial(self._heard, self._dials))

    # --- what the streams say -----------------------------------------------------------------

    def _heard(self, number: int, message: FromAgent) -> None:
        if self._over:
            return
        coming = self._next[0] if self._next else 0
        match message:
            case AgentLost() if number == coming:
                self._failed(message)
            case AgentLost() if number == self._number:
                self._broken(message)
            case AgentLost():
                pass
            case Opened() if number == coming:
                self._take_over(message)
            case Opened():
                self._opened = message
                self._receiver(message)
            case _:
                self._receiver(message)

    def _broken(self, lost: AgentLost) -> None:
        begun = self._opened is not None or self._opening.resume is not None
        backlog = self._stream.backlog() if lost.retryable and begun else None
        if backlog is None:
            self._give_up(lost)
            return
        log.warning("the stream to the AI broke, trying to resume: %s", lost.reason)
        self._lost_by = lost
        self._carry(0, _Held(self._again(backlog), self._options, backlog))
        self._begin_trying()

    def _move(self) -> None:
        """The server wants to be rid of the stream, which still works."""
        if not self._over and self._next is None and self._stream.backlog() is not None:
            self._begin_trying()

    # --- another stream -----------------------------------------------------------------------

    def _begin_trying(self) -> None:
        now = self._loop.time()
        if now - self._resumed_at > self._options.resume_settled_seconds:
            self._tries = 0
        if self._limit is not None:
            self._limit.cancel()
        self._limit = self._loop.call_later(self._options.resume_seconds, self._ran_out)
        if self._next is None and self._retry is None:
            self._try()

    def _try(self) -> None:
        self._retry = None
        backlog = self._stream.backlog()
        if backlog is None or self._tries >= self._options.resume_tries:
            self._ran_out()
            return
        self._tries += 1
        self._next = self._dial(self._again(backlog))

    def _again(self, backlog: Backlog) -> Open:
        """The opening with what was agreed: a resumed call does not change its form."""
        opened = self._opened
        if opened is None:  # the call was another worker's, and proposes what was agreed there
            return replace(self._opening, resume=Resume(backlog.token, backlog.acked_seq))
        return replace(
            self._opening,
            uplink=opened.uplink,
            chunk_ms=opened.chunk_ms,
            downlink_choices=(opened.downlink,),
            resume=Resume(backlog.token, backlog.acked_seq),
        )

    def _failed(self, lost: AgentLost) -> None:
        """An attempt did. Others follow while there is time."""
        self._next = None
        if not lost.retryable:
            self._ran_out()
            return
        pause = self._options.backoff_seconds * 2 ** (self._tries - 1) * random.uniform(0.5, 1.0)
        self._retry = self._loop.call_later(pause, self._try)

    def _take_over(self, opened: Opened) -> None:
        first, backlog = self._opened, self._stream.backlog()
        assert self._next is not None
        number, stream = self._next
        if backlog is None or (first is not None and _form(opened) != _form(first)):
            stream.close(Close(CloseReason.PROTOCOL_ERROR, "resumed in another form"))
            self._failed(AgentLost("resumed in another form", retryable=False))
            return
        if not opened.resumed and self._lost_by is None:
            # Its server goes, but knows the call until then; the new one does not.
            stream.close(Close(CloseReason.DRAINING, "the call stays where it is known"))
            self._next = None
            self._stop_trying()
            return
        self._next = None
        self._stop_trying()
        self._loop.call_later(_LEAVING_SECONDS, self._stream.abandon)
        stream.replay(backlog, known=opened.resumed)
        self._resumes.note(opened.resumed, backlog.audio_ms)
        for message in () if opened.resumed else tuple(self._state.values()):
            stream.send(message)
        self._carry(number, stream)
        self._lost_by, self._resumed_at = None, self._loop.time()
        if first is None:
            self._opened = opened
            self._receiver(opened)
        log.info("the AI goes on with the call, %s", "resumed" if opened.resumed else "anew")

    def _ran_out(self) -> None:
        """No stream in time: the call is lost, unless it has still got its old one."""
        self._stop_trying()
        if self._lost_by is not None:
            self._resumes.failed += 1
            self._give_up(self._lost_by)

    def _give_up(self, lost: AgentLost) -> None:
        receiver = self._receiver
        self._end()
        receiver(lost)

    def _end(self) -> None:
        self._over = True
        self._stop_trying()
        self._receiver, self._stream.going_away = nobody, None

    def _stop_trying(self) -> None:
        for alarm in (self._retry, self._limit):
            if alarm is not None:
                alarm.cancel()
        self._retry = self._limit = None
        if self._next is not None:
            (_, stream), self._next = self._next, None
            stream.abandon()


def _form(opened: Opened) -> tuple[object, ...]:
    return opened.uplink, opened.chunk_ms, opened.downlink


class Resuming:
    """AgentConnector whose calls outlive their streams, where the AI has given a resume_token."""

    def __init__(self, inner: ReplayableConnector, options: AgentOptions) -> None:
        self.inner = inner
        self.resumes = Resumes()
        self._options = options

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> ResumingStream:
        return ResumingStream(opening, receiver, self.inner, self._options, self.resumes)

    def flush(self) -> None:
        self.inner.flush()

    async def aclose(self) -> None:
        await self.inner.aclose()
