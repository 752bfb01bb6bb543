"""The dispute: the bot hears it, and hands the caller to a human without a moment of dead air."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from voicefork.handoff.v1 import handoff_pb2

from voicefork_cli.demo.cast import AGENT_HZ, CALLER_HZ, Cast
from voicefork_cli.demo.ears import until_quiet
from voicefork_cli.demo.handoffs import follow_handoff, nanoseconds
from voicefork_cli.demo.outcomes import report_outcome
from voicefork_cli.demo.patterns import ACCEPT_KEY, Pattern
from voicefork_cli.demo.queue import waiting_caller
from voicefork_cli.demo.story import BREATH_SECONDS, ask, call_in, control_call, next_line
from voicefork_cli.demo.timeline import Timeline
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.measure.packets import Packet
from voicefork_cli.operator.context_stream import open_contexts
from voicefork_cli.sim.phone import Behaviour, PhoneCall
from voicefork_cli.sim.sdp import TELEPHONE_EVENT
from voicefork_cli.sim.source import Tone

T = TypeVar("T")
COMPLAINT = "I want to dispute this charge."
TALK_SECONDS = 3.0
HEARD_SECONDS = 10.0
BRIEFING_SECONDS = 15.0
TENANT = "default"


class AgentMood(Enum):
    """What the agent's phone does."""

    ANSWER = "answer"
    BUSY = "busy"
    DECLINE = "decline"
    NO_ANSWER = "noanswer"

    @property
    def behaviour(self) -> Behaviour:
        tone = Tone(AGENT_HZ)
        match self:
            case AgentMood.ANSWER:
                return Behaviour(ring_seconds=3.0, source=tone)
            case AgentMood.BUSY:
                return Behaviour(ring_seconds=0.0, status=486)
            case AgentMood.DECLINE:
                return Behaviour(ring_seconds=1.0, status=603)
            case AgentMood.NO_ANSWER:
                return Behaviour(status=None)


@dataclass(frozen=True, slots=True)
class Dispute:
    """What happened, by the clocks of those it happened to; what was heard is measured later."""

    answered_ns: int
    escalated_ns: int
    ended_ns: int
    recognised: tuple[str, ...]
    agent_answered_ns: int | None
    agent_heard: tuple[Packet, ...]  # by the agent's phone, whether it answered or not
    handoff: handoff_pb2.Handoff  # as it was in the end
    settled_ns: int  # CONNECTED, or the way out taken
    context_ns: int | None
    summary: str
    control: tuple[Packet, ...]  # what a caller without a handoff heard in the same time
    pattern: Pattern = Pattern.ATTENDED
    keys: tuple[Packet, ...] = ()  # the agent's key, as their phone sent it
    variables: Mapping[str, str] = field(default_factory=dict)  # of the caller's channel in Queue()
    referred_ns: int | None = None
    referred_to: str = ""
    reported: int = 0  # handoffs the agent has said something of, by the orchestrator's counters
    repeated: int = 0  # of these, callers who had to repeat themselves

    @property
    def reached(self) -> bool:
        """Whether the caller should have met a human."""
        by_queue = self.pattern is Pattern.DIALPLAN and self.agent_answered_ns is not None
        return by_queue or self.handoff.phase == handoff_pb2.PHASE_CONNECTED

    @property
    def key_ns(self) -> int | None:
        """When the agent had let the key go."""
        return self.keys[-1].arrival_ns if self.keys else None

    @property
    def joined_ns(self) -> int:
        """When they met, or the way out was taken."""
        if self.pattern is Pattern.DIALPLAN and self.agent_answered_ns is not None:
            return self.agent_answered_ns
        return self.settled_ns


async def tell_dispute(
    cast: Cast, timeline: Timeline, mood: AgentMood, pattern: Pattern = Pattern.ATTENDED
) -> Dispute:
    """The whole call, with a control call beside it."""
    caller = cast.caller
    cast.phone.behaviour = mood.behaviour
    async with control_call(cast) as control, asyncio.TaskGroup() as beside:
        await call_in(cast, timeline)
        screen = beside.create_task(_screen(cast, timeline))
        agent = beside.create_task(_agent(cast, timeline, pattern))
        await ask(cast, timeline, COMPLAINT)
        escalated = await next_line(cast, "escalated", HEARD_SECONDS)
        call_id = cast.edge.calls[caller.call_id].voicefork_call
        address = cast.stack.orchestrator.addresses["grpc"]

        def on_phase(handoff: handoff_pb2.Handoff) -> None:
            held = pattern is Pattern.WHISPER and handoff.phase == handoff_pb2.PHASE_CALLER_HELD
            if held or handoff.phase == handoff_pb2.PHASE_CONNECTED:
                caller.play(Tone(CALLER_HZ))  # while held, so that it shows who hears it

        changes = await follow_handoff(address, call_id, timeline, on_phase)
        variables = await waiting_caller(cast.stack.asterisk)
        if pattern is Pattern.DIALPLAN and mood is AgentMood.ANSWER:
            async with asyncio.timeout(HEARD_SECONDS):
                await asyncio.shield(agent)
            caller.play(Tone(CALLER_HZ))
        await asyncio.sleep(TALK_SECONDS)
        await caller.hang_up()
        await cast.second.hang_up()
        timeline.add(time.time_ns(), "caller", "hangs up")
        screen.cancel()
        agent.cancel()
        heard = tuple(control)
    referred = next((e.at_ns for e in caller.events if e.text == "got REFER"), None)
    if referred is not None and caller.referral is not None:
        desk = ", ".join(caller.referral.asked_for)
        timeline.add(referred, "PBX", f"REFER: the carrier is asked to call {desk}")
    published = await _result(screen)
    phone_call = await _result(agent)
    last = changes[-1]
    settled = next(h for h in changes if h.phase == last.phase)
    taken = phone_call is not None and phone_call.answered_ns is not None
    reported, repeated = await report_outcome(cast, last, taken=taken, shown=published is not None)
    lines = cast.vendor_lines()
    return Dispute(
        answered_ns=caller.answered_ns or 0,
        escalated_ns=int(float(str(escalated["t"])) * 1e9),
        ended_ns=cast.ended_ns or time.time_ns(),
        recognised=tuple(str(line["text"]) for line in lines if line["event"] == "heard"),
        agent_answered_ns=phone_call.answered_ns if phone_call else None,
        agent_heard=tuple(phone_call.heard) if phone_call else (),
        handoff=last,
        settled_ns=nanoseconds(settled),
        context_ns=published[0] if published else None,
        summary=published[1] if published else "",
        control=heard,
        pattern=pattern,
        keys=_keys(phone_call) if phone_call else (),
        variables=variables,
        referred_ns=referred,
        reported=reported,
        repeated=repeated,
        referred_to=", ".join(caller.referral.asked_for) if caller.referral else "",
    )


async def _screen(cast: Cast, timeline: Timeline) -> tuple[int, str] | None:
    """What the agent's screen shows, and when it had it."""
    async with open_contexts(cast.stack.redis.url, TENANT) as stream:
        async for published in stream.follow(await stream.end()):
            if published.envelope is not None:
                summary = str(published.envelope["context"]["summary"])
                timeline.add(published.at_ns, "screen", f"shows: {summary}")
                return published.at_ns, summary
    return None


async def _agent(cast: Cast, timeline: Timeline, pattern: Pattern) -> PhoneCall:
    call = await cast.phone.next_call(60.0)
    timeline.add(time.time_ns(), "agent", "phone rings")
    await _decided(call)
    if call.answered_ns is not None:
        timeline.add(call.answered_ns, "agent", "answers")
        if pattern is Pattern.WHISPER:
            await _listen_and_accept(cast, call, timeline)
    else:
        timeline.add(time.time_ns(), "agent", f"does not take it: {call.events[-1].text}")
    return call


async def _listen_and_accept(cast: Cast, call: PhoneCall, timeline: Timeline) -> None:
    """Hears the briefing out, then takes the caller by key."""
    began = call.answered_ns or 0
    heard = await until_quiet(call, began, quiet_seconds=BREATH_SECONDS, limit=BRIEFING_SECONDS)
    briefing = (await next_line(cast, "briefing", HEARD_SECONDS))["text"]
    spoken = next(p.arrival_ns for p in call.heard if not is_silent(p))
    timeline.add(spoken, "agent", f"hears: {briefing}")
    timeline.add(heard, "agent", "has heard it; the caller hears music")
    timeline.add(time.time_ns(), "agent", f"presses {ACCEPT_KEY}")
    await call.press(ACCEPT_KEY)


def _keys(call: PhoneCall) -> tuple[Packet, ...]:
    """The packets of its keys (RFC 4733), at the time they were sent."""
    return tuple(
        Packet(sent.sent_ns, sent.seq, sent.timestamp, 0, sent.payload_type, False, sent.payload)
        for sent in call.said
        if sent.payload_type == TELEPHONE_EVENT
    )


async def _decided(call: PhoneCall) -> None:
    """Until the phone has answered, or will not."""
    while True:
        if call.answered_ns is not None or call.ended.is_set():
            return
        await asyncio.sleep(0.01)


async def _result(task: asyncio.Task[T]) -> T | None:
    """None when it was cancelled before it knew."""
    try:
        return await task
    except asyncio.CancelledError:
        return None
