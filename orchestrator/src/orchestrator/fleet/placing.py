"""Calls that we make: dialled through the carrier, and given a bot as if they had come in.

The leg is dialled with the headers by which the edge forks it (X-Voicefork-Call, -Direction: out).
Once answered it goes through the dialplan, where recording starts, and comes back as any call.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

import structlog

from orchestrator.errors import PeerError
from orchestrator.fleet.call import mint_call_id, name_or_empty
from orchestrator.fleet.order import (
    CallFailed,
    NotAllowed,
    Order,
    OrderChanged,
    StillRinging,
    failure_named,
    failure_of,
)
from orchestrator.model import CallId, Placed

log = structlog.stdlib.get_logger(__name__)

OUTBOUND = "voicefork-out-"
PLACED = "placed"
"""First argument of Stasis for a call of ours that was just answered."""

ANSWERED = "ANSWERED"
_LOOK_SECONDS = 0.2
_MARGIN_SECONDS = 5.0  # after the ringing, for what the PBX says last


class Dialler(Protocol):
    """What is asked of the PBX. Raises PbxError."""

    async def call_out(
        self,
        channel_id: str,
        endpoint: str,
        *,
        caller_id: str,
        ring_seconds: int,
        variables: Mapping[str, str],
    ) -> None:
        """Dials; once answered, the leg enters our application as PLACED."""

    async def begin(self, channel_id: str) -> bool:
        """Through the dialplan's `voicefork-out`, where recording starts, and back as inbound.

        False: there is no such place.
        """

    async def hang_up(self, channel_id: str) -> None: ...


class Ledger(Protocol):
    """Orders by request id, for whatever replica is asked again. Raises StoreError."""

    async def enter(self, order: Placed, app: str, body: str) -> tuple[str, str]:
        """(call id, body) of the order of that request: ours, if it is the first."""

    async def settle(self, order: Placed, app: str, result: str) -> None:
        """It rings no more for `app`; a first result stays."""

    async def ringing(self, app: str) -> Sequence[Placed]:
        """What rings, or rang when its replica died."""

    async def result(self, tenant: str, request_id: str) -> str:
        """ANSWERED, why it failed, or empty while it rings."""


@dataclass(frozen=True, slots=True)
class Dialling:
    """How the carrier is reached. `endpoint`: PJSIP/${EXT}@carrier; empty = not at all."""

    endpoint: str
    app: str
    ring_seconds: int = 45


class Placing:
    """The calls that are being made by this replica."""

    def __init__(
        self,
        pbx: Dialler,
        ledger: Ledger,
        dialling: Dialling,
        allowed: Callable[[str, str], bool],
    ) -> None:
        """`allowed(to, tenant)`: nobody is called who is not allowed."""
        self._pbx = pbx
        self._ledger = ledger
        self._dialling = dialling
        self._allowed = allowed
        self._ringing: dict[str, asyncio.Future[CallFailed | None]] = {}  # by channel

    async def place(
        self, *, request_id: str, to: str, caller: str, tenant: str, route: str = ""
    ) -> CallId:
        """Returns once the callee has answered; asked again, it tells of the same call.

        Raises Refused: NotAllowed, OrderChanged, StillRinging, or the CallFailed it ended with;
        StoreError: without the ledger nobody is called, as it might be twice.
        """
        order = Order(request_id, to, caller, tenant, route)
        if tenant != name_or_empty(tenant):  # it becomes part of keys and of a SIP header
            raise NotAllowed("that is no tenant's name")
        endpoint = endpoint_for(self._dialling.endpoint, order.to)
        if not endpoint or not self._allowed(order.to, order.tenant):
            raise NotAllowed(f"calls to {order.to} are not allowed here")
        minted, body = mint_call_id(), _body_of(order)
        placed = Placed(order.tenant, order.request_id, minted)
        known, first_body = await self._ledger.enter(placed, self._dialling.app, body)
        if first_body != body:
            raise OrderChanged("the request_id belongs to another call")
        if known != minted:
            return await self._again(replace(placed, call=CallId(known)))
        dial = self._pbx.call_out(
            _channel(minted),
            endpoint,
            caller_id=order.caller,
            ring_seconds=self._dialling.ring_seconds,
            variables=_variables(order, minted, self._dialling.app),
        )
        await self._ring(placed, self._dialling.app, dial)
        return minted

    async def take_over(
        self, app: str, standing: Callable[[str], bool | None]
    ) -> Sequence[Coroutine[Any, Any, None]]:
        """Goes on with what rings for a replica that is gone; what is returned is to be run.

        `standing`: whether a channel has been answered, None = it is gone. Raises StoreError.
        """
        work = []
        for placed in await self._ledger.ringing(app):
            match standing(_channel(placed.call)):
                case False:
                    self._expect(placed)
                    work.append(self._ring_on(placed, app))
                case answered:  # its bot has it by now, or Asterisk hung it up for want of one
                    await self._tell(placed, app, ANSWERED if answered else "INTERRUPTED")
        return work

    async def _ring_on(self, placed: Placed, app: str) -> None:
        log.warning("a placed call rings on", call_id=placed.call)
        with suppress(CallFailed):
            await self._ring(placed, app, None)

    # --- told by the node ---------------------------------------------------------------------

    def answered(self, channel_id: str) -> bool:
        """False = nobody waits for this call (any more)."""
        return self._settled(channel_id, None)

    def ended(self, channel_id: str, sip_status: int, q850_cause: int) -> None:
        self._settled(channel_id, failure_of(sip_status, q850_cause))

    @property
    def busy(self) -> bool:
        """Whether somebody's phone rings for us."""
        return bool(self._ringing)

    def concerns(self, channel_id: str) -> bool:
        return channel_id in self._ringing

    async def begin(self, channel_id: str, enter: Callable[[], None]) -> None:
        """Gives an answered call to its bot; by `enter` where the dialplan has no part in it."""
        try:
            if not await self._pbx.begin(channel_id):
                log.warning("no voicefork-out in the dialplan: the call is not recorded")
                enter()
        except PeerError as error:
            log.warning("placed call was lost", channel=channel_id, error=str(error))

    # --- one call -----------------------------------------------------------------------------

    def _expect(self, placed: Placed) -> asyncio.Future[CallFailed | None]:
        waiting = self._ringing.get(_channel(placed.call))
        if waiting is None:
            waiting = asyncio.get_running_loop().create_future()
            self._ringing[_channel(placed.call)] = waiting
        return waiting

    async def _ring(self, placed: Placed, app: str, dial: Coroutine[Any, Any, None] | None) -> None:
        """Until it is answered. `app`: the slot it was placed for; `dial` None: it rings already.

        Raises CallFailed.
        """
        channel, waiting = _channel(placed.call), self._expect(placed)
        log.info("call placed", call_id=placed.call, tenant=placed.tenant)
        failed: CallFailed | None = failure_named("INTERRUPTED")
        try:
            if dial is not None:
                await dial
            async with asyncio.timeout(self._dialling.ring_seconds + _MARGIN_SECONDS):
                failed = await waiting
        except TimeoutError:
            failed = failure_named("NO_ANSWER")
        except PeerError as error:
            log.warning("call could not be placed", call_id=placed.call, error=str(error))
            failed = failure_named("UNREACHABLE")
        finally:
            self._ringing.pop(channel, None)
            if failed is not None:
                await self._give_up(placed, app, failed)
        await self._tell(placed, app, ANSWERED if failed is None else failed.reason)
        if failed is not None:
            log.info("call not answered", call_id=placed.call, why=failed.reason)
            raise failed

    async def _give_up(self, placed: Placed, app: str, failed: CallFailed) -> None:
        """Also when the asker went away: nobody's phone rings on for nobody.

        Where we may not end it, another replica has it, and will tell.
        """
        try:
            await self._pbx.hang_up(_channel(placed.call))
        except PeerError as error:
            log.warning("placed call may ring on", call_id=placed.call, error=str(error))
            return
        if failed.reason == "INTERRUPTED":
            await self._tell(placed, app, failed.reason)

    async def _tell(self, placed: Placed, app: str, result: str) -> None:
        try:
            await self._ledger.settle(placed, app, result)
        except PeerError as error:
            log.warning("result of a placed call is not stored", error=str(error))

    async def _again(self, order: Placed) -> CallId:
        """The order has been given before: here or at another replica, ringing still or not."""
        try:
            async with asyncio.timeout(self._dialling.ring_seconds + 2 * _MARGIN_SECONDS):
                result = await self._ledger.result(order.tenant, order.request_id)
                while not result:  # told by whichever replica rings
                    await asyncio.sleep(_LOOK_SECONDS)
                    result = await self._ledger.result(order.tenant, order.request_id)
        except TimeoutError as error:
            # Asterisk lets no phone ring so long: whoever placed it died, and nobody was its heir.
            await self._tell(order, self._dialling.app, "INTERRUPTED")
            raise StillRinging(f"call {order.call} is neither answered nor over") from error
        if result != ANSWERED:
            raise failure_named(result)
        return order.call

    def _settled(self, channel_id: str, result: CallFailed | None) -> bool:
        waiting = self._ringing.get(channel_id)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(result)
        return True


def _channel(call: CallId) -> str:
    return f"{OUTBOUND}{call}"


def endpoint_for(template: str, to: str) -> str:
    """What Asterisk dials: a number into the template's ${EXT}, a URI by its endpoint.

    Empty: there is no template, or `to` is neither a number nor a SIP URI.
    """
    if not template:
        return ""
    if _NUMBER.fullmatch(to):
        return template.replace("${EXT}", to)
    if _URI.fullmatch(to):
        technology, _, rest = template.partition("/")
        return f"{technology}/{rest.rpartition('@')[2]}/{to}"
    return ""


_NUMBER = re.compile(r"\+?[0-9]{2,20}", re.ASCII)
# No parameters and no headers: they would be Asterisk's to read.
_URI = re.compile(r"sips?:[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.-]{1,255}(?::[0-9]{1,5})?", re.ASCII)


def _body_of(order: Order) -> str:
    return hashlib.sha256(repr(astuple(order)).encode()).hexdigest()


def _variables(order: Order, call: CallId, app: str) -> Mapping[str, str]:
    """`__`: inherited by every leg that this one makes."""
    route = {"PJSIP_HEADER(add,X-Voicefork-Route)": order.route} if order.route else {}
    return {
        **route,
        "PJSIP_HEADER(add,X-Voicefork-Call)": call,
        "PJSIP_HEADER(add,X-Voicefork-Direction)": "out",
        "PJSIP_HEADER(add,X-Voicefork-Tenant)": order.tenant,
        "__VOICEFORK_CALL": call,
        "__VOICEFORK_DIRECTION": "out",
        "__VOICEFORK_TENANT": order.tenant,
        "__VOICEFORK_APP": app,
    }
