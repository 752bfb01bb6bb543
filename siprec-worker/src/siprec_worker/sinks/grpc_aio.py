"""The same ports on plain grpc.aio: the oracle of the h2 sender in tests, and its fallback.

Several times dearer per message (see the h2 modules), and one message of each call is always on
its way, out of reach of shedding.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import grpc

from siprec_worker.errors import SetupError, VendorError
from siprec_worker.media.model import LegAudio
from siprec_worker.pem import MadeFromFiles
from siprec_worker.session.model import AgentLost, Close, FromAgent, Open, Opened, ToAgent
from siprec_worker.sinks.conversation import Conversation
from siprec_worker.sinks.counters import StreamCounters
from siprec_worker.sinks.grpc_status import lost_by_status
from siprec_worker.sinks.nobody import nobody
from siprec_worker.sinks.options import CONVERSE, AgentOptions
from siprec_worker.sinks.target import Target, agent_files, client_context
from siprec_worker.sinks.waiting_audio import Backlog

log = logging.getLogger(__name__)

_Call = grpc.aio.StreamStreamCall[bytes, bytes]
_Method = grpc.aio.StreamStreamMultiCallable[bytes, bytes]


class GrpcAioStream:
    """AgentStream on a grpc.aio call; its task, owned by the connector, lives as long as it."""

    def __init__(
        self, opening: Open, receiver: Callable[[FromAgent], None], options: AgentOptions
    ) -> None:
        self.talk = Conversation(opening, options)
        self._receiver = receiver
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._verdict: asyncio.Future[AgentLost] = self._loop.create_future()
        missed = AgentLost(f"not opened within {options.opening_seconds:g} s")
        self._alarm = self._loop.call_later(options.opening_seconds, self._decide, missed)
        self._work = asyncio.Event()  # something may be written
        self._work.set()
        self._closing = False
        self._over = False  # the receiver knows; until then what is said belongs to the call
        self.going_away: Callable[[], None] | None = None  # the channel does not tell

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

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        if self._over:
            return
        self.talk.audio(pts, legs, may_send=False)
        if self.talk.silent:
            seconds = self._options.silence_seconds
            self._decide(AgentLost(f"nothing from the AI for {seconds:g} s of audio"))

    def send(self, message: ToAgent) -> None:
        if self._over or self.talk.overrun:
            return
        self.talk.event(message)
        if self.talk.overrun:
            self._decide(AgentLost("the AI does not read: too many events wait"))

    def close(self, close: Close) -> None:
        if not self._closing:
            self._closing = True
            self.talk.close(close)
            self._work.set()
            self._alarm.cancel()
            seconds = self._options.close_seconds
            self._alarm = self._loop.call_later(seconds, self._decide, AgentLost("closed"))

    def backlog(self) -> Backlog | None:
        return self.talk.backlog()

    def replay(self, backlog: Backlog, *, known: bool) -> None:
        self.talk.replay(backlog.items, known=known)
        self._work.set()

    def abandon(self) -> None:
        self._closing = True
        self._decide(AgentLost("another stream goes on"))

    def flush(self) -> None:
        if self.talk.waiting:
            self._work.set()

    def refuse(self) -> None:
        """Instead of `run`, when there is no connector any more."""
        self._alarm.cancel()
        lost = AgentLost("the worker is shutting down", retryable=False)
        self._loop.call_soon(self._deliver, lost)

    async def run(self, method: _Method) -> None:
        """Talks until either side ends it; the receiver then learns why."""
        metadata = tuple(self._options.metadata(self.talk.opening))
        call = method(metadata=metadata, wait_for_ready=True)
        lost = AgentLost("the worker is shutting down", retryable=False)
        try:
            async with asyncio.TaskGroup() as work:
                parts = (self._read(call), self._write(call), self._acknowledge())
                tasks = [work.create_task(part) for part in parts]
                lost = await self._verdict
                for task in tasks:
                    task.cancel()
        finally:
            self._alarm.cancel()
            call.cancel()
            self._over = True
            self._deliver(lost)
            self._receiver, self.going_away = nobody, None

    def _decide(self, lost: AgentLost) -> None:
        if not self._verdict.done():
            self._verdict.set_result(lost)

    async def _read(self, call: _Call) -> None:
        """No limit here: opening, silence and closing have theirs, and end this task."""
        try:
            while isinstance(body := await call.read(), bytes):
                message = self.talk.receive(body)
                if message is not None:
                    self._deliver(message)
            self._decide(lost_by_status(0, ""))
        except VendorError as error:
            self._decide(AgentLost(str(error), retryable=False))
        except grpc.aio.AioRpcError as error:
            code: int = error.code().value[0]
            self._decide(lost_by_status(code, error.details() or ""))

    async def _write(self, call: _Call) -> None:
        try:
            while not self.talk.finished:
                await self._work.wait()
                self._work.clear()
                while (message := self.talk.next_message()) is not None:
                    await call.write(b"".join(message[1]))
                    if not self.talk.acks:
                        self.talk.heard()  # without Acks, taking our audio is a sign of life
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            log.debug("the call ended under a write; the reader knows why")

    async def _acknowledge(self) -> None:
        while True:
            await asyncio.sleep(self._options.ack_seconds)
            if self.talk.ack_due:
                self.talk.acknowledge()
                self._work.set()

    def _deliver(self, message: FromAgent) -> None:
        if self._closing:
            return
        if isinstance(message, Opened):
            self._alarm.cancel()
            self._work.set()
        try:
            self._receiver(message)
        except Exception:  # our own bug in one call must not cost the others
            log.exception("receiver failed on %s", type(message).__name__)


class GrpcAioConnector:
    """AgentConnector on one grpc.aio channel, opened at the first call."""

    def __init__(self, target: Target, options: AgentOptions) -> None:
        self._target = target
        self._options = options
        self._credentials: MadeFromFiles[grpc.ChannelCredentials] | None = None
        if target.tls:
            self._credentials = MadeFromFiles(agent_files(options), lambda: _credentials(options))
        self._channel: grpc.aio.Channel | None = None
        self._made_with: grpc.ChannelCredentials | None = None
        self._retired: list[
            grpc.aio.Channel
        ] = []  # of certificates before, while calls are on them
        self._channels: dict[asyncio.Task[None], grpc.aio.Channel] = {}  # what each call is on
        self._tasks: dict[asyncio.Task[None], GrpcAioStream] = {}
        self._sum = StreamCounters()
        self._closed = False

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> GrpcAioStream:
        stream = GrpcAioStream(opening, receiver, self._options)
        if self._closed:
            stream.refuse()
            return stream
        channel = self._current_channel()
        task = asyncio.get_running_loop().create_task(self._converse(stream, channel))
        self._tasks[task], self._channels[task] = stream, channel
        task.add_done_callback(self._ended)
        return stream

    def flush(self) -> None:
        for stream in self._tasks.values():
            stream.flush()

    async def aclose(self) -> None:
        """Ends all within close_seconds and a second: first what has said goodbye already."""
        self._closed = True
        self.flush()
        closing = [task for task, stream in self._tasks.items() if stream.closing]
        if closing:
            await asyncio.wait(closing, timeout=self._options.close_seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in (*self._retired, *([self._channel] if self._channel else [])):
            try:
                async with asyncio.timeout(1.0):
                    await channel.close()
            except TimeoutError:
                log.warning("closing the channel to %s took too long", self._target.authority)

    @property
    def counters(self) -> StreamCounters:
        """The sum over all streams, ended and living."""
        total = StreamCounters()
        total.add(self._sum)
        for stream in self._tasks.values():
            total.add(stream.stats)
        return total

    async def _converse(self, stream: GrpcAioStream, channel: grpc.aio.Channel) -> None:
        method: _Method = channel.stream_stream(CONVERSE)
        try:
            await stream.run(method)
        finally:
            this = asyncio.current_task()
            used = {on for task, on in self._channels.items() if task is not this}
            for idle in [one for one in self._retired if one not in used]:
                self._retired.remove(idle)
                await idle.close()

    @property
    def channels(self) -> int:
        """The one for new calls, and those of certificates before."""
        return len(self._retired) + (self._channel is not None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._channels[task]
        self._sum.add(self._tasks.pop(task).stats)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a stream to %s failed", self._target.authority, exc_info=error)

    def _current_channel(self) -> grpc.aio.Channel:
        """Another one once the files are others: a channel dials with what it was made of."""
        credentials = self._credentials.current() if self._credentials is not None else None
        if self._channel is not None and credentials is not self._made_with:
            self._retired.append(self._channel)
            self._channel = None
        if self._channel is None:
            self._channel = self._open_channel(credentials)
            self._made_with = credentials
        return self._channel

    def _open_channel(self, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        options = (
            ("grpc.max_receive_message_length", self._options.max_message_bytes),
            ("grpc.initial_reconnect_backoff_ms", round(self._options.backoff_seconds * 1000)),
            ("grpc.min_reconnect_backoff_ms", round(self._options.backoff_seconds * 1000)),
            ("grpc.max_reconnect_backoff_ms", round(self._options.backoff_max_seconds * 1000)),
            ("grpc.enable_retries", 0),
        )
        if credentials is None:
            return grpc.aio.insecure_channel(self._target.authority, options=options)
        return grpc.aio.secure_channel(self._target.authority, credentials, options=options)


def _credentials(options: AgentOptions) -> grpc.ChannelCredentials:
    """Raises SetupError for files that cannot be used: gRPC finds that out only as it dials."""
    client_context(options)
    paths = (options.ca_file, options.key_file, options.certificate_file)
    try:
        root, key, chain = (path.read_bytes() if path is not None else None for path in paths)
    except OSError as error:
        raise SetupError(f"the agent's TLS files cannot be used: {error}") from error
    return grpc.ssl_channel_credentials(root, key, chain)
