"""One measured handoff: its caller, its agent's phone, and who is asked for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import aiohttp
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc
from voicefork_cli.measure.heard import hear, is_silent
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.tones import tones_of
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

MUSIC, CALLER, AGENT, BOT = 350, 440, 600, 1000
TONES = (MUSIC, CALLER, AGENT, BOT)
SURE_PACKETS = 5
HEAR_SECONDS = 12.0
TALK_SECONDS = 0.5
BOT_NUMBER, BARE_NUMBER = "+14155550100", "920"


class Pattern(Enum):
    """What is measured."""

    ATTENDED = "ATTENDED"
    DIALPLAN = "DIALPLAN"
    BARE = "bare ARI"  # the steps of ATTENDED, by bench.bare_ari


@dataclass(frozen=True, slots=True)
class Handed:
    """One handoff, in milliseconds; from Escalate's sending and by the kernel's packet times."""

    ack_ms: float
    hold_heard_ms: float
    answer_heard_ms: float  # the agent's 200 OK -> the agent's voice at the caller
    merge_ms: float | None  # agent accepted -> caller merged; None where the PBX's queue merges
    silent_frames: int
    missing_ms: float


class Way(Protocol):
    """Somebody who can hand a call over."""

    async def escalate(self, call_id: str, lane: int) -> None: ...

    async def merge_ms(self, call_id: str) -> float | None: ...


def phone_of(lane: int) -> str:
    return f"PJSIP/agent-{lane}"


def queue_of(lane: int) -> str:
    """A queue whose only member is that phone."""
    return f"lane{lane}"


@dataclass(frozen=True, slots=True)
class ByVoicefork:
    """HandoffService, as an AI vendor asks it."""

    service: handoff_pb2_grpc.HandoffServiceStub
    pattern: pb.Pattern.ValueType

    async def escalate(self, call_id: str, lane: int) -> None:
        attended = self.pattern == pb.PATTERN_ATTENDED
        target = pb.Target(endpoint=phone_of(lane)) if attended else pb.Target(queue=queue_of(lane))
        context = pb.Context(summary="The caller disputes a charge of 150 dollars.")
        request = pb.EscalateRequest(
            request_id="1",
            call_id=call_id,
            reason="dispute",
            pattern=self.pattern,
            target=target,
            context=context,
        )
        answer: Any = self.service.Escalate(request)
        await answer

    async def merge_ms(self, call_id: str) -> float | None:
        if self.pattern != pb.PATTERN_ATTENDED:
            return None
        answer: Any = self.service.GetHandoff(pb.GetHandoffRequest(call_id=call_id))
        handoff = (await answer).handoff
        if handoff.phase != pb.PHASE_CONNECTED:
            raise SimError(f"the handoff is {pb.Phase.Name(handoff.phase)}")
        return float(handoff.timing.merge_ms)


@dataclass(frozen=True, slots=True)
class ByBareScript:
    """bench.bare_ari."""

    session: aiohttp.ClientSession
    address: str

    async def escalate(self, call_id: str, lane: int) -> None:
        asked = {"call": call_id, "endpoint": phone_of(lane)}
        async with self.session.post(f"http://{self.address}/handoff", params=asked) as answer:
            answer.raise_for_status()

    async def merge_ms(self, call_id: str) -> float | None:
        url = f"http://{self.address}/merge"
        async with self.session.get(url, params={"call": call_id}) as answer:
            found: float | None = (await answer.json())["merge_ms"]
            return found


@dataclass(frozen=True, slots=True)
class Lane:
    """One handoff at a time, with a phone of its own."""

    number: int
    phone: AgentPhone
    edge: Edge
    pacer: Pacer
    control: CarrierCaller
    ways: dict[Pattern, Way]
    rest: Callable[[], float]  # seconds: so that lanes do not march in step

    async def measure(self, pattern: Pattern) -> Handed:
        """A call from its dialling to its end. Raises SimError, TimeoutError, and as ways do."""
        bare = pattern is Pattern.BARE
        number = BARE_NUMBER if bare else BOT_NUMBER
        async with open_caller(pacer=self.pacer) as caller:
            await caller.dial(self.edge.uri.replace("sip:", f"sip:{number}@"), Tone(CALLER))
            await until_hears(caller, CALLER if bare else BOT, time.time_ns())
            call_id = self.edge.calls[caller.call_id].voicefork_call
            await asyncio.sleep(self.rest())
            way, rung = self.ways[pattern], len(self.phone.calls)
            escalated = time.time_ns()
            await way.escalate(call_id, self.number)
            acked = time.time_ns()
            held = await until_hears(caller, MUSIC, escalated)
            agent_heard = await until_hears(caller, AGENT, escalated)
            answered = self._answered(rung, agent_heard)
            await asyncio.sleep(TALK_SECONDS)
            merge_ms = await way.merge_ms(call_id)
            to_ns = time.time_ns()
            await caller.hang_up()
        after = [p for p in caller.heard if escalated <= p.arrival_ns < to_ns]
        own = hear(caller.heard, escalated, to_ns)
        control = hear(self.control.heard[-2000:], escalated, to_ns)
        return Handed(
            ack_ms=(acked - escalated) / 1e6,
            hold_heard_ms=(held - escalated) / 1e6,
            answer_heard_ms=(agent_heard - answered) / 1e6,
            merge_ms=merge_ms,
            silent_frames=sum(map(is_silent, after)),
            missing_ms=own.beyond(control).missing_ms,
        )

    def _answered(self, rung: int, before_ns: int) -> int:
        """When the phone answered the call of this handoff."""
        times = [call.answered_ns for call in self.phone.calls[rung:] if call.answered_ns]
        if not times:
            raise SimError("the lane's phone did not answer")
        return max(at for at in times if at <= before_ns)


async def until_hears(caller: CarrierCaller, hz: int, after_ns: int) -> int:
    """Arrival of the first of SURE_PACKETS packets that hold `hz` alone. Raises TimeoutError."""
    looked, run = 0, list[Packet]()
    async with asyncio.timeout(HEAR_SECONDS):
        while True:
            heard = caller.heard
            for packet in heard[looked:]:
                if packet.arrival_ns >= after_ns:
                    run = [*run, packet] if tones_of(packet, TONES) == {hz} else []
                if len(run) >= SURE_PACKETS:
                    return run[0].arrival_ns
            looked = len(heard)
            await asyncio.sleep(0.05)
