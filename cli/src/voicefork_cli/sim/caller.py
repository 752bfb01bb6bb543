"""The carrier's caller: dials, talks, hears, hangs up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from voicefork_cli.sim.dialog import Dialog
from voicefork_cli.sim.endpoint import ClientTransaction, SipEndpoint, open_sip
from voicefork_cli.sim.errors import CallRefused, CallTimeout
from voicefork_cli.sim.leg import Leg
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port
from voicefork_cli.sim.source import Source
from voicefork_cli.sim.tasks import TaskOwner

CANCEL_SECONDS = 2.0
RING_SECONDS = 180.0
OK = 200
REFUSED = 300


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, and from where. `name` goes unescaped into everything downstream."""

    number: str = "+14155550100"
    name: str = "Alice Carrier"
    codec: str = "PCMU"
    host: str = "127.0.0.1"


class CarrierCaller(Leg):
    """One call of a carrier. Made by `open_caller`."""

    def __init__(self, endpoint: SipEndpoint, rtp: RtpPort, identity: Identity) -> None:
        super().__init__(endpoint, rtp)
        self.identity = identity
        self.progress: list[int] = []  # statuses of the INVITE's answers, in order
        self.final: Message | None = None
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._invite: ClientTransaction | None = None
        self._tasks = TaskOwner()

    async def dial(
        self,
        uri: str,
        source: Source,
        *,
        headers: Mapping[str, str] | None = None,
        limit_seconds: float = 10.0,
    ) -> None:
        """Calls and waits for the 200 OK.

        Raises:
            CallRefused: a final answer other than 2xx.
            CallTimeout: none within the limit (the call is cancelled).
        """
        await self.start(uri, source, headers=headers)
        await self.until_answered(limit_seconds)

    async def start(
        self, uri: str, source: Source, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Sends the INVITE; its answers are dealt with from now on, early media too."""
        if self.dialog is not None:
            raise RuntimeError("a caller makes one call")
        self.play(source)
        who = f'"{self.identity.name}" ' if self.identity.name else ""
        own = self.endpoint.uri(self.identity.number)
        self.dialog = Dialog(
            f"{secrets.token_hex(8)}@{self.endpoint.host}",
            f"{who}<{own}>;tag={secrets.token_hex(6)}",
            f"<{uri}>",
            uri,
            f"<{self.endpoint.uri('carrier')}>",
        )
        self.endpoint.calls[self.call_id] = self.requested
        body, extra = self.sdp(), list((headers or {}).items())
        request = self.dialog.request("INVITE", self.via, headers=extra, body=body)
        self.note("INVITE")
        self._invite = self.endpoint.begin(request, await self.endpoint.flow_to(uri))
        self._tasks.start(self._follow(self._invite))

    async def until_answered(self, limit_seconds: float) -> None:
        """Raises CallRefused, CallTimeout as dial() does."""
        try:
            async with asyncio.timeout(limit_seconds):
                await asyncio.shield(self._outcome)
        except TimeoutError as error:
            await self.cancel()
            raise CallTimeout(f"not answered in {limit_seconds:g} s: {self.progress}") from error

    async def cancel(self) -> None:
        """Gives up an unanswered call (RFC 3261 section 9.1)."""
        if self._invite is None or self._outcome.done():
            return
        invite = self._invite.request
        kept = [(k, v) for k, v in invite.headers if k in ("Via", "From", "To", "Max-Forwards")]
        number = [("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq} CANCEL")]
        self.note("CANCEL")
        request = Message(f"CANCEL {invite.uri} SIP/2.0", [*kept, *number])
        try:
            await self.endpoint.begin(request, self._invite.flow).final(CANCEL_SECONDS)
            async with asyncio.timeout(CANCEL_SECONDS):
                await asyncio.wait([self._outcome])
        except (CallTimeout, TimeoutError):
            self.note("CANCEL was not answered")
        self.finish("cancelled")

    async def close(self) -> None:
        """Hangs up or cancels, whatever is due."""
        if self.answered_ns is not None:
            await self.hang_up()
        elif not self.ended.is_set():
            await self.cancel()
        await self._tasks.close()
        self.endpoint.calls.pop(self.call_id, None)
        self.finish("closed")
        if self._outcome.done() and not self._outcome.cancelled():
            self._outcome.exception()  # told already, or nobody asked

    async def _follow(self, invite: ClientTransaction) -> None:
        while not self._outcome.done():
            try:
                answer = await invite.response(RING_SECONDS)
            except CallTimeout as error:
                self._outcome.set_exception(error)
                return
            await self._progress(invite, answer)

    async def _progress(self, invite: ClientTransaction, answer: Message) -> None:
        self.progress.append(answer.status)
        self.note(f"{answer.status} {answer.reason}")
        if answer.status < REFUSED and answer.body:
            self.hear_from(answer.body)
        if answer.status < OK or self.dialog is None:
            return
        self.final = answer
        if answer.status >= REFUSED:
            self.finish(f"refused with {answer.status}")
            self._outcome.set_exception(CallRefused(answer.status, answer.reason))
            return
        self.dialog.established(answer)
        self.answered()
        invite.ack = await self.acknowledge(answer)
        self._outcome.set_result(None)


@asynccontextmanager
async def open_caller(
    identity: Identity | None = None,
    *,
    pacer: Pacer | None = None,
    endpoint: SipEndpoint | None = None,
    speaks: bool = True,
) -> AsyncIterator[CarrierCaller]:
    """A caller with a SIP address and an RTP port of its own (or on the endpoint given).

    One that does not speak sends no RTP, whatever is played.
    """
    identity = identity or Identity()
    async with AsyncExitStack() as stack:
        if speaks and pacer is None:
            pacer = stack.enter_context(open_pacer())
        if endpoint is None:
            endpoint = await stack.enter_async_context(open_sip(identity.host))
        ticks = pacer if speaks else None
        rtp = stack.enter_context(open_rtp_port(ticks, host=identity.host, codec=identity.codec))
        caller = CarrierCaller(endpoint, rtp, identity)
        try:
            yield caller
        finally:
            await caller.close()
