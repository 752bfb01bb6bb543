"""An agent's phone: rings, answers or not, presses keys, talks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from voicefork_cli.sim.dialog import Dialog
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.errors import CallTimeout
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.leg import Leg
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port
from voicefork_cli.sim.source import Script, Silence, Source, Tone
from voicefork_cli.sim.tasks import TaskOwner

OK = 200
CALLS_KEPT = 10_000
_REASONS = {
    200: "OK", 302: "Moved Temporarily", 404: "Not Found", 480: "Temporarily Unavailable",
    486: "Busy Here", 500: "Server Internal Error", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip


def _agent_tone() -> Source:
    return Tone(600)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the phone does with a call."""

    ring_seconds: float = 0.3
    status: int | None = OK  # 486 busy, 603 declined; None rings until the caller gives up
    early_media: bool = False  # 183 with a ringing tone of its own instead of 180
    keys: str = ""  # pressed after the answer
    keys_after_seconds: float = 0.5
    hang_up_after_seconds: float | None = None
    source: Source = field(default_factory=_agent_tone)
    first_sequence: int | None = None  # of its RTP; else random (RFC 3550 section 5.1)


class PhoneCall(Leg):
    """One call that came to the phone."""

    def __init__(
        self, endpoint: SipEndpoint, rtp: RtpPort, invite: Message, behaviour: Behaviour
    ) -> None:
        super().__init__(endpoint, rtp)
        self.invite = invite
        self.behaviour = behaviour
        self.dialog = Dialog.answering(invite, f"<{endpoint.uri('agent')}>")
        self.cancelled = False

    async def serve(self, flow: Flow) -> None:
        """From ringing to the end of the call."""
        behaviour = self.behaviour
        if behaviour.status is None or behaviour.ring_seconds:
            self._ring(flow)
        try:
            async with asyncio.timeout(behaviour.ring_seconds if behaviour.status else None):
                await self.ended.wait()
        except TimeoutError:
            await self._decide(flow, behaviour.status or OK)
        await self.ended.wait()

    def requested(self, request: Message, flow: Flow) -> None:
        if request.method != "CANCEL":
            super().requested(request, flow)
            return
        self.endpoint.reply(request, flow, request.reply(200, "OK"))
        if self.answered_ns is None and not self.ended.is_set():
            self.cancelled = True
            self.answer(self.invite, flow, 487, "Request Terminated", b"")
            self.finish("cancelled by the caller")

    def _ring(self, flow: Flow) -> None:
        self.note("ringing")
        if self.behaviour.early_media:
            self.hear_from(self.invite.body)
            self.play(Script([(Tone(425), 1.0), (Silence(), None)]))
            self.answer(self.invite, flow, 183, "Session Progress", self.sdp())
        else:
            self.answer(self.invite, flow, 180, "Ringing", b"")

    async def _decide(self, flow: Flow, status: int) -> None:
        if status != OK:
            self.answer(self.invite, flow, status, _REASONS.get(status, "Refused"), b"")
            self.finish(f"refused with {status}")
            return
        self.hear_from(self.invite.body)
        self.play(self.behaviour.source)
        self.answer(self.invite, flow, OK, "OK", self.sdp())
        self.answered()
        if self.behaviour.keys:
            await asyncio.sleep(self.behaviour.keys_after_seconds)
            await self.press(self.behaviour.keys)
        if self.behaviour.hang_up_after_seconds is not None:
            await asyncio.sleep(self.behaviour.hang_up_after_seconds)
            await self.hang_up()


class AgentPhone:
    """A phone that takes any number of calls, one after the other. Made by `open_phone`."""

    def __init__(self, endpoint: SipEndpoint, pacer: Pacer, name: str, codec: str) -> None:
        self.behaviour = Behaviour()
        self.calls: list[PhoneCall] = []
        self.uri = endpoint.uri(name)
        self._endpoint = endpoint
        self._pacer = pacer
        self._codec = codec
        self._arrived = asyncio.Event()
        self._asked = 0
        self._tasks = TaskOwner()
        endpoint.on_request = self._requested

    async def next_call(self, limit_seconds: float = 10.0) -> PhoneCall:
        """The next call that came, in order, ringing still or not. Raises CallTimeout."""
        try:
            async with asyncio.timeout(limit_seconds):
                while len(self.calls) <= self._asked:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError as error:
            raise CallTimeout(f"no call to {self.uri} in {limit_seconds:g} s") from error
        self._asked += 1
        return self.calls[self._asked - 1]

    async def close(self) -> None:
        for call in self.calls:
            await call.hang_up()
            call.finish("the phone was put away")
        await self._tasks.close()

    def _requested(self, request: Message, flow: Flow) -> None:
        match request.method:
            case "INVITE" if len(self.calls) < CALLS_KEPT:
                self._tasks.start(self._serve(request, flow))
            case "OPTIONS" | "NOTIFY":
                self._endpoint.reply(request, flow, request.reply(200, "OK", to_tag="phone"))
            case "ACK":
                return
            case _:
                refusal = request.reply(481, "Call/Transaction Does Not Exist", to_tag="phone")
                self._endpoint.reply(request, flow, refusal)

    async def _serve(self, invite: Message, flow: Flow) -> None:
        with open_rtp_port(self._pacer, host=self._endpoint.host, codec=self._codec) as rtp:
            if self.behaviour.first_sequence is not None:
                rtp.number_from(self.behaviour.first_sequence)
            call = PhoneCall(self._endpoint, rtp, invite, self.behaviour)
            self.calls.append(call)
            self._endpoint.calls[invite.call_id] = call.requested
            self._arrived.set()
            try:
                await call.serve(flow)
            finally:
                self._endpoint.calls.pop(invite.call_id, None)


@asynccontextmanager
async def open_phone(
    name: str = "agent-1",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    codec: str = "PCMU",
    pacer: Pacer | None = None,
) -> AsyncIterator[AgentPhone]:
    """A phone at `phone.uri`. Raises SetupMissing where the port is taken."""
    async with AsyncExitStack() as stack:
        pacer = pacer or stack.enter_context(open_pacer())
        endpoint = await stack.enter_async_context(open_sip(host, port))
        phone = AgentPhone(endpoint, pacer, name, codec)
        try:
            yield phone
        finally:
            await phone.close()
