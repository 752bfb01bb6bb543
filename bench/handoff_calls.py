"""One measured handoff: its caller, its agent's phone, and what they heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from voicefork_cli.measure.heard import Heard, hear, is_silent
from voicefork_cli.measure.packets import Packet, Sent
from voicefork_cli.measure.tones import tones_of
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.phone import AgentPhone, Behaviour, PhoneCall
from voicefork_cli.sim.referral import Referral
from voicefork_cli.sim.sdp import TELEPHONE_EVENT
from voicefork_cli.sim.source import Tone

from bench.handoff_ways import ACCEPT_KEY, Pattern, Way

MUSIC, CALLER, AGENT, BOT = 350, 440, 600, 1000
TONES = (MUSIC, CALLER, AGENT, BOT)
NAMES = {MUSIC: "music", CALLER: "the echo", AGENT: "the agent", BOT: "the bot"}
SURE_PACKETS = 5
HEAR_SECONDS = 12.0
FREE_SECONDS = 5.0
TALK_SECONDS = 0.5
RING_SECONDS = 0.4
KEY_SECONDS = 1.0  # of the briefing, then the agent has heard enough
CONTROL_PACKETS = 2000
QUIET_NS = 1_000_000_000
EVENT_END = 0x80  # RFC 4733 section 2.3.2
REFERRED = ((0.02, 100), (0.1, 200))  # how the carrier reports on the REFER


@dataclass(frozen=True, slots=True)
class Handed:
    """One handoff, in milliseconds; by the kernel's packet times. None: not in this pattern."""

    ack_ms: float  # Escalate sent -> answered
    hold_heard_ms: float  # Escalate sent -> music at the caller
    silent_frames: int
    missing_ms: float  # beyond what a call without a handoff, or the agent's phone itself, misses
    longest_gap_ms: float
    answer_heard_ms: float | None = None  # the agent's 200 OK -> the agent's voice at the caller
    key_heard_ms: float | None = None  # the key's last packet -> the agent's voice at the caller
    merge_ms: float | None = None  # accepted -> merged, by the clock of who merged
    referred_ms: float | None = None  # Escalate sent -> REFER at the carrier
    witness_off_ms: float | None = None  # dead air: the worker's count and the caller's, apart
    handling_ms: float | None = None  # Escalate sent -> the agent's voice at the caller


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
        keys = ACCEPT_KEY if pattern is Pattern.WARM_WHISPER else ""
        self.phone.behaviour = Behaviour(
            ring_seconds=RING_SECONDS, keys=keys, keys_after_seconds=KEY_SECONDS
        )
        rung = len(self.phone.calls)
        async with open_caller(pacer=self.pacer) as caller:
            caller.referral = Referral(progress=REFERRED)
            uri = self.edge.uri.replace("sip:", f"sip:{pattern.number}@")
            await caller.dial(uri, Tone(CALLER))
            talking = CALLER if pattern is Pattern.BARE else BOT
            try:
                await until_hears(caller, talking, time.time_ns())
            except SimError as error:
                error.add_note(self._recorded(caller))
                raise
            call_id = self.edge.calls[caller.call_id].voicefork_call
            await asyncio.sleep(self.rest())
            try:
                return await self._hand_over(pattern, caller, call_id, rung)
            except (SimError, TimeoutError) as error:
                error.add_note(await self.ways[pattern].story(call_id))
                raise
            finally:
                await caller.hang_up()
                await self._free(rung)

    async def _hand_over(
        self, pattern: Pattern, caller: CarrierCaller, call_id: str, rung: int
    ) -> Handed:
        """Nothing is measured but what the handoff itself needs; the rest follows the hang-up."""
        way, escalated = self.ways[pattern], time.time_ns()
        await way.escalate(call_id, self.number)
        acked = time.time_ns()
        held = await until_hears(caller, MUSIC, escalated)
        call, agent = None, None
        if pattern is Pattern.REFER:
            to_ns = await _taken_over(caller)
        else:
            agent = await until_hears(caller, AGENT, escalated)
            call = self._answered(rung)
            await asyncio.sleep(TALK_SECONDS)
            to_ns = time.time_ns()
        merge_ms = await way.merge_ms(call_id)
        await caller.hang_up()
        whole = hear(caller.heard, escalated, caller.ended_ns or to_ns)  # as long as the witness
        key = _key_end(call) if call else []
        own = hear(sorted([*caller.heard, *key]), escalated, to_ns)
        control = hear(self.control.heard[-CONTROL_PACKETS:], escalated, to_ns)
        after = [p for p in caller.heard if escalated <= p.arrival_ns < to_ns]
        return Handed(
            ack_ms=(acked - escalated) / 1e6,
            hold_heard_ms=(held - escalated) / 1e6,
            silent_frames=sum(map(is_silent, after)),
            missing_ms=max(0.0, own.beyond(control).missing_ms - _unsaid_ms(call, to_ns)),
            longest_gap_ms=own.longest_gap_ms,
            answer_heard_ms=_between(call.answered_ns, agent) if call and not key else None,
            key_heard_ms=_between(key[-1].arrival_ns, agent) if key else None,
            merge_ms=merge_ms,
            referred_ms=_between(escalated, _referred(caller)),
            witness_off_ms=_apart(await way.witness_ms(call_id), whole),
            handling_ms=_between(escalated, agent),
        )

    def _recorded(self, caller: CarrierCaller) -> str:
        """Whether a worker has the call: a call without a fork has no bot."""
        forks = self.edge.calls[caller.call_id].forks
        told = [f"the fork is {fork.state.value} {fork.reason}".rstrip() for fork in forks]
        return ", ".join(told) or "no fork"

    def _answered(self, rung: int) -> PhoneCall:
        """The call of this handoff that the phone has answered."""
        calls = [call for call in self.phone.calls[rung:] if call.answered_ns]
        if not calls:
            raise SimError("the lane's phone did not answer")
        return calls[-1]

    async def _free(self, rung: int) -> None:
        """A phone that still holds a call is no free member of its queue."""
        for call in self.phone.calls[rung:]:
            try:
                async with asyncio.timeout(FREE_SECONDS):
                    await call.ended.wait()
            except TimeoutError:
                await call.hang_up()


async def _taken_over(caller: CarrierCaller) -> int:
    """The carrier has the caller elsewhere: the BYE's moment."""
    try:
        async with asyncio.timeout(HEAR_SECONDS):
            await caller.ended.wait()
    except TimeoutError as error:
        raise SimError(f"no BYE within {HEAR_SECONDS:g} s of the REFER's success") from error
    assert caller.ended_ns is not None
    return caller.ended_ns


def _referred(caller: CarrierCaller) -> int | None:
    return next((event.at_ns for event in caller.events if event.text == "got REFER"), None)


def _key_end(call: PhoneCall) -> list[Packet]:
    """The packets with which the phone let its key go; [] = it pressed none.

    They take the place of 60 ms of its voice (RFC 4733 section 2.5.1.4), and the key is taken with
    the first of them: what the phone does not say meanwhile is no gap of the handoff's making.
    """
    return [
        _as_packet(sent)
        for sent in call.said
        if sent.payload_type == TELEPHONE_EVENT and sent.payload[1] & EVENT_END
    ]


def _as_packet(sent: Sent) -> Packet:
    return Packet(sent.sent_ns, sent.seq, sent.timestamp, 0, sent.payload_type, False, sent.payload)


def _unsaid_ms(call: PhoneCall | None, to_ns: int) -> float:
    """What the agent's phone, a part of this program, did not say in time."""
    said = [_as_packet(sent) for sent in call.said] if call else []
    return hear(said, said[0].arrival_ns, to_ns).missing_ms if said else 0.0


def _between(earlier_ns: int | None, later_ns: int | None) -> float | None:
    return None if earlier_ns is None or later_ns is None else (later_ns - earlier_ns) / 1e6


def _apart(witness_ms: float | None, whole: Heard) -> float | None:
    return None if witness_ms is None else abs(witness_ms - whole.dead_air_ms)


async def until_hears(caller: CarrierCaller, hz: int, after_ns: int) -> int:
    """Arrival of the first of SURE_PACKETS packets that hold `hz` alone. Raises SimError."""
    looked, run = 0, list[Packet]()
    try:
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
    except TimeoutError as error:
        raise SimError(f"{_instead(caller)} instead of {NAMES[hz]}") from error


def _instead(caller: CarrierCaller) -> str:
    """What the caller hears in the end."""
    newest = caller.heard[-SURE_PACKETS:]
    if caller.ended.is_set():
        return f"the call was over ({caller.events[-1].text})"
    if not newest or time.time_ns() - newest[-1].arrival_ns > QUIET_NS:
        return "no packets"
    tones = tones_of(newest[-1], TONES)
    return " and ".join(NAMES[round(hz)] for hz in sorted(tones)) or "silence"
