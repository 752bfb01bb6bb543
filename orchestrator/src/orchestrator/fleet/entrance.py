"""The door: finds out who a channel is that entered our application, and starts its call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from orchestrator.errors import Conflict, NotFound, PeerError
from orchestrator.fleet.call import (
    DEFAULT_TENANT,
    EnteredCall,
    Tenant,
    mint_call_id,
    name_or_empty,
)
from orchestrator.fleet.calls import Calls
from orchestrator.model import CallId, ChannelId, HandoffId

log = structlog.stdlib.get_logger(__name__)

_ATTEMPTS, _PAUSE_SECONDS = 6, 0.25  # the last one after 15 s

INBOUND = "inbound"
"""First argument of Stasis() for a call that is to meet its bot."""

QUEUE_ENDED = "queue-ended"
"""For a caller whom a queue gave up; the queue and its QUEUESTATUS follow."""

# Dialplan variable, the SIP header behind it, and its name as an argument of Stasis().
_CALL = ("VOICEFORK_CALL", "X-Voicefork-Call", "call")
_TENANT = ("VOICEFORK_TENANT", "X-Voicefork-Tenant", "tenant")
_HANDOFF = "VOICEFORK_HANDOFF"
_HOSTED = "VOICEFORK_HOSTED"
_DIRECTION = ("VOICEFORK_DIRECTION", "X-Voicefork-Direction", "direction")


class TakesBack(Protocol):
    """Who goes on with a caller after a queue."""

    async def queue_ended(
        self, handoff: HandoffId, tenant: str, caller: ChannelId, status: str
    ) -> bool:
        """False: nobody here knows that handoff."""


class Doorkeeper(Protocol):
    """What the door asks of the PBX. Raises PbxError."""

    async def identity(self, channel_id: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Channel variables or dialplan functions; empty where not set."""

    async def codec(self, channel_id: str) -> str: ...

    async def answer(self, channel_id: str) -> None: ...

    async def start_music(self, channel_id: str) -> None: ...

    async def to_queue(self, channel_id: str) -> None: ...

    async def to_dialplan(self, channel_id: str) -> None: ...


class Entrance:
    """Takes what enters the application; each entry is one short task of `calls`."""

    def __init__(
        self,
        calls: Calls,
        pbx: Doorkeeper,
        after_queue: TakesBack | None = None,
        *,
        node: str = "",
    ) -> None:
        self._calls = calls
        self._pbx = pbx
        self._after_queue = after_queue
        self._node = node
        self._meeting: set[str] = set()  # channels

    def meets(self, channel_id: str) -> bool:
        """Whether this channel is just being asked who it is."""
        return channel_id in self._meeting

    def enter(
        self,
        channel_id: str,
        args: Sequence[str],
        *,
        answered: bool,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """A channel came in by Stasis(app, *args): `inbound[,call=..][,tenant=..]`.

        `variables`: those that Asterisk told with the event. Another first argument is an entry
        nobody here knows: the channel goes on in the dialplan.
        """
        if self.meets(channel_id) or self._calls.knows_channel(channel_id):
            log.info("entered already", channel=channel_id)  # told by an event and found in a list
        elif args and args[0] == QUEUE_ENDED and self._after_queue is not None:
            self._meeting.add(channel_id)
            status = args[2] if len(args) > 2 else ""  # noqa: PLR2004 - queue-ended,QUEUE,STATUS
            self._calls.spawn(self._come_back(channel_id, status, self._after_queue))
        elif not args or args[0] != INBOUND:
            log.warning("unknown entry", channel=channel_id, kind=args[0] if args else "")
            self._calls.spawn(self._turn_away(channel_id))
        elif not self._calls.has_room():
            log.warning("no room for a bot", calls=len(self._calls))
            self._calls.spawn(self.to_queue(channel_id))
        else:
            self._meeting.add(channel_id)
            given = dict(variables or {})
            # `call=` and so on; the dialplan's arguments count more than its variables.
            named = dict(pair for arg in args[1:] if len(pair := arg.split("=", 1)) == 2)  # noqa: PLR2004
            given |= {variable: named[name] for variable, _, name in _ALL if name in named}
            self._calls.spawn(self._meet(channel_id, given, answered=answered))

    async def _come_back(self, channel_id: str, status: str, after_queue: TakesBack) -> None:
        """With music at once: the queue's own has ended."""
        taken = False
        try:
            await self._pbx.start_music(channel_id)
            handoff, tenant = await self._pbx.identity(channel_id, (_HANDOFF, _TENANT[0]))
            taken = bool(handoff) and await after_queue.queue_ended(
                HandoffId(handoff),
                name_or_empty(tenant) or DEFAULT_TENANT,
                ChannelId(channel_id),
                status,
            )
        except PeerError as error:
            log.warning("return from a queue failed", channel=channel_id, error=str(error))
        finally:
            self._meeting.discard(channel_id)
        if not taken:
            log.info("back from a queue, to the dialplan", channel=channel_id, status=status)
            await self._turn_away(channel_id)

    async def _meet(self, channel_id: str, given: Mapping[str, str], *, answered: bool) -> None:
        try:
            call = await self._identify(channel_id, given, answered=answered)
            entered = self._calls.enter(call)
        except PeerError as error:
            log.warning("entry failed", channel=channel_id, error=str(error))
            entered = False
        else:
            if not entered:
                log.error("a second channel of one call", call_id=call.call_id, channel=channel_id)
        finally:
            self._meeting.discard(channel_id)
        if not entered:
            await self.to_queue(channel_id)

    async def _identify(
        self, channel_id: str, given: Mapping[str, str], *, answered: bool
    ) -> EnteredCall:
        names = (*(variable for variable, _, _ in _ALL), _HOSTED)
        asked = tuple(name for name in names if name not in given)
        found = dict(zip(asked, await self._pbx.identity(channel_id, asked), strict=True))
        known = {**found, **given}
        if not known[_CALL[0]]:
            # A dialplan without our include: the edge's headers themselves.
            functions = tuple(f"PJSIP_HEADER(read,{header})" for _, header, _ in _ALL)
            headers = await self._pbx.identity(channel_id, functions)
            known |= zip((variable for variable, _, _ in _ALL), headers, strict=True)
        call_id = name_or_empty(known[_CALL[0]])
        if not call_id:
            log.warning("a call without an id: it has no fork", channel=channel_id)
        return EnteredCall(
            call_id=CallId(call_id) if call_id else mint_call_id(),
            tenant=Tenant(name_or_empty(known[_TENANT[0]]) or DEFAULT_TENANT),
            channel_id=channel_id,
            codec=await self._pbx.codec(channel_id),
            direction="out" if known[_DIRECTION[0]] == "out" else "in",
            answered=answered,
            hosted=known[_HOSTED],
            minted=not call_id,
            node=self._node,
        )

    async def to_queue(self, channel_id: str) -> None:
        """With music from the first moment. Answering an answered channel does nothing."""
        pbx = self._pbx
        await self._insist(channel_id, pbx.answer, pbx.start_music, pbx.to_queue)

    async def _turn_away(self, channel_id: str) -> None:
        await self._insist(channel_id, self._pbx.to_dialplan)

    async def _insist(self, channel_id: str, *steps: Callable[[str], Awaitable[None]]) -> None:
        """Nobody else takes care of this caller: what fails is tried again, from there on."""
        left = list(steps)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS * 2**attempt)
            try:
                while left:
                    await left[0](channel_id)
                    left.pop(0)
            except (NotFound, Conflict):  # hung up, or in the dialplan already
                return
            except PeerError as error:
                log.warning("caller not let go yet", channel=channel_id, error=str(error))
            else:
                return
        log.error("caller could not be let go: nobody cares for them", channel=channel_id)


_ALL = (_CALL, _TENANT, _DIRECTION)
