"""The way to a human without the orchestrator: the worker itself asks Asterisk.

    Escalate or BotFailed ── acknowledged in time ──────────────→ the orchestrator's business
              │
              └─ nothing for PATIENCE ─→ music ─→ queue ─→ bot taken down, AI told   (once a call)
                                          └─ failed: again after each of RETRY_SECONDS, then ERROR

Between two attempts an acknowledgement still hands the call back to the orchestrator; what has
been done is never undone. Calls in Stasis outlive the application's websocket, and obey commands
of any connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

import aiohttp
import structlog

from siprec_worker.errors import PbxError
from siprec_worker.net.ari_node import AriNode, ChannelGone, QueuePlace
from siprec_worker.session import effects as fx
from siprec_worker.session.model import Escalate
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 1.0
RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
WAITING_PER_CALL = 8
BOT_FAILED = ""  # stands for a request id: the AI that failed asked for nothing
KEEPALIVE_SECONDS = 10.0  # Asterisk closes idle connections after 15 s

Escaped = Callable[[str, str], None]
"""Called with call id and request id once the caller is on the way to the queue."""


class Result(Enum):
    """What became of an escalation that nobody acknowledged in time; the metric's label."""

    ESCAPED = "escaped"
    CALLER_GONE = "caller_gone"
    TAKEN = "taken"  # acknowledged between two attempts
    FAILED = "failed"
    NO_CHANNEL = "no_channel"


@dataclass(slots=True)
class _Caller:
    """One call's place in the PBX and what of it waits for an answer."""

    channel_id: str = ""
    node: str = ""
    waiting: dict[str, asyncio.Event] = field(default_factory=dict)  # by request id
    acting: bool = False
    escaped: bool = False


class AriEscape:
    """A session.ports.Reporter beside the one that tells the orchestrator.

    `nodes`: Asterisk nodes by name; "" is the one of every other name. `patience`: seconds an
    orchestrator has to acknowledge, 0 where there is none to wait for. `retries`: pauses between
    attempts.
    """

    def __init__(  # noqa: PLR0913 - two of them are for tests that do not wait long
        self,
        nodes: Mapping[str, AriNode],
        place: QueuePlace,
        metrics: Metrics,
        escaped: Escaped,
        *,
        patience: float = PATIENCE_SECONDS,
        retries: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        self._nodes = nodes
        self._place = place
        self._metrics = metrics
        self._escaped = escaped
        self._patience = patience
        self._retries = retries
        self._callers: dict[str, _Caller] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- where the caller is ----------------------------------------------------------------

    def channel_known(self, call_id: str, node: str, channel_id: str) -> None:
        """The orchestrator has named the caller's channel; again = it is another one now."""
        caller = self._callers.setdefault(call_id, _Caller())
        caller.node, caller.channel_id, caller.escaped = node, channel_id, False

    def left_bot(self, call_id: str) -> None:
        """The orchestrator has taken the caller from the bot: nothing to escape from."""
        if (caller := self._callers.pop(call_id, None)) is not None:
            _answer_all(caller)

    # --- session.ports.Reporter -------------------------------------------------------------

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None:
        """Nothing to escape from yet."""

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        """The orchestrator names the call's channel with its new leg."""

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None:
        self.left_bot(call_id)

    def report(self, call_id: str, news: fx.News) -> None:
        match news:
            case Escalate(request_id=request_id):
                self._watch(call_id, request_id)
            case fx.BotFailed():
                self._watch(call_id, BOT_FAILED)

    def acknowledged(self, call_id: str, request_id: str) -> None:
        """The orchestrator has taken (or refused) it; too late where the caller is gone already."""
        caller = self._callers.get(call_id)
        if caller is not None and (answered := caller.waiting.get(request_id)) is not None:
            answered.set()

    # --- the escape -------------------------------------------------------------------------

    def _watch(self, call_id: str, request_id: str) -> None:
        caller = self._callers.setdefault(call_id, _Caller())
        if caller.escaped or request_id in caller.waiting:
            return
        if len(caller.waiting) >= WAITING_PER_CALL:
            return  # the first of them moves the caller
        answered = caller.waiting[request_id] = asyncio.Event()
        task = asyncio.create_task(self._run(call_id, request_id, caller, answered))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, call_id: str, request_id: str, caller: _Caller, answered: asyncio.Event
    ) -> None:
        try:
            if await _within(answered, self._patience) or caller.acting or caller.escaped:
                return
            caller.acting = True
            result = await self._act(call_id, caller, answered)
            caller.acting = False
            self._metrics.escapes.labels(result.value).inc()
            if result is Result.ESCAPED:
                caller.escaped = True
                _answer_all(caller)
                self._escaped(call_id, request_id)
        finally:
            caller.waiting.pop(request_id, None)

    async def _act(self, call_id: str, caller: _Caller, answered: asyncio.Event) -> Result:
        told = log.bind(call_id=call_id, node=caller.node)
        if not caller.channel_id:
            told.error("caller is stuck with the bot: no channel is known", do=_DO_CHANNEL)
            return Result.NO_CHANNEL
        node = self._nodes.get(caller.node) or self._nodes.get("")
        if node is None:
            told.error("caller is stuck with the bot: unknown Asterisk node", do=_DO_NODE)
            return Result.FAILED
        why = ""
        for delay in (*self._retries, 0.0):
            try:
                await self._to_queue(node, caller.channel_id)
            except ChannelGone:
                return Result.CALLER_GONE
            except PbxError as error:
                self._metrics.escape_errors.inc()
                why = str(error)
                told.warning("escape to the queue failed", why=why)
            else:
                told.warning("orchestrator did not answer: caller sent to the queue")
                return Result.ESCAPED
            if delay and await _within(answered, delay):
                return Result.TAKEN
        told.error("caller is stuck with the bot: every escape failed", why=why, do=_DO_ARI)
        return Result.FAILED

    async def _to_queue(self, node: AriNode, channel_id: str) -> None:
        """Raises ChannelGone, PbxError when the caller is where they were."""
        await node.start_music(channel_id)  # first: nobody waits in silence for the rest
        if not await node.place_exists(channel_id, self._place):
            raise PbxError(f"the dialplan has no {self._place} (--queue-context)")
        bridge = await node.bot_bridge(channel_id)
        await node.leave_for(channel_id, self._place)
        if bridge is not None:
            try:
                await node.take_down(bridge)
            except PbxError as error:
                log.warning("bot's leg is left behind", bridge=bridge.bridge_id, why=str(error))

    async def aclose(self) -> None:
        """Ends what waits; callers stay where they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


_DO_CHANNEL = "update the orchestrator: AttachTalkback names channel_id and ari_node"
_DO_NODE = "name the node's URL in ari_nodes (YAML) or give --ari"
_DO_ARI = "check --ari, --ari-user, VOICEFORK_ARI_PASSWORD and --queue-context; restart Asterisk"


@asynccontextmanager
async def open_nodes(
    urls: Mapping[str, str], user: str, password: str
) -> AsyncIterator[dict[str, AriNode]]:
    """Nodes by name with kept connections. Nothing is sent yet."""
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(keepalive_timeout=KEEPALIVE_SECONDS)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers=headers, connector=connector)
        )
        yield {name: AriNode(session, url) for name, url in urls.items()}


async def _within(answered: asyncio.Event, seconds: float) -> bool:
    """Whether it was answered in that time."""
    try:
        async with asyncio.timeout(seconds):
            await answered.wait()
    except TimeoutError:
        return False
    return True


def _answer_all(caller: _Caller) -> None:
    for answered in caller.waiting.values():
        answered.set()
