"""What the demo's table says of one pattern alone, and what the field asks of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from voicefork_cli.demo.cast import AGENT_HZ, CALLER_HZ, MUSIC_HZ
from voicefork_cli.demo.dispute import Dispute
from voicefork_cli.demo.ears import audible_until
from voicefork_cli.demo.handoffs import outcome_name
from voicefork_cli.demo.patterns import Pattern
from voicefork_cli.demo.rows import Figure, milliseconds, since, steady_tone_from, with_keys
from voicefork_cli.measure.heard import hear, is_silent
from voicefork_cli.measure.packets import PACKET_MS, Packet
from voicefork_cli.measure.tones import is_pure

LEAST_BRIEFING_MS = 2000  # a sentence
HELD_MS = 250
NS_PER_MS = 1_000_000


def pattern_figures(packets: Sequence[Packet], call: Dispute) -> list[Figure]:
    """Beside what every handoff shows: see Pattern."""
    match call.pattern:
        case Pattern.WHISPER if call.agent_answered_ns is not None:
            return _whispered(packets, call)
        case Pattern.DIALPLAN:
            return [_variables(call)]
        case Pattern.REFER:
            asked = since(call.referred_ns, call.escalated_ns)
            return [
                Figure(
                    "escalation -> REFER at the carrier", milliseconds(asked), asked is not None
                ),
                Figure("  Refer-To", call.referred_to or "-", bool(call.referred_to)),
            ]
        case _:
            return []


def _whispered(packets: Sequence[Packet], call: Dispute) -> list[Figure]:
    """From the agent's answer to their key: who hears the briefing, and who does not."""
    begin = call.agent_answered_ns or 0
    end = call.keys[0].arrival_ns if call.keys else call.joined_ns
    agents = [p for p in call.agent_heard if begin <= p.arrival_ns < end]
    callers = [p for p in packets if begin <= p.arrival_ns < end]
    spoken = PACKET_MS * sum(not is_silent(p) and not is_pure(p, CALLER_HZ) for p in agents)
    leaked = PACKET_MS * sum(not is_pure(p, MUSIC_HZ) for p in callers)
    steady = steady_tone_from(agents, CALLER_HZ, begin)  # a vowel may be the tone for a packet
    overheard = 0 if steady is None else PACKET_MS * sum(is_pure(p, CALLER_HZ) for p in agents)
    music = PACKET_MS * len(callers)
    return [
        Figure("briefing heard by the agent", milliseconds(spoken), spoken >= LEAST_BRIEFING_MS),
        Figure("  by the caller meanwhile", f"{leaked} ms, {music - leaked} ms of music",
               leaked == 0 and music > 0),
        Figure("  the caller heard by the agent", milliseconds(overheard), overheard == 0),
    ]  # fmt: skip


def _variables(call: Dispute) -> Figure:
    """What the queue, and the agent's phone, can be told of the call."""
    found = call.variables
    shown = {name.lower(): found[name] for name in ("INTENT", "PRIORITY", "CUSTOMER", "LANGUAGE")
             if found.get(name)}  # fmt: skip
    told = ", ".join(f"{name} {value}" for name, value in shown.items())
    good = found.get("INTENT") == "dispute" and found.get("HANDOFF") == call.handoff.handoff_id
    return Figure("known in the queue", told or "-", good)


def field_figures(packets: Sequence[Packet], call: Dispute, *, as_expected: bool) -> list[Figure]:
    """The five things the field asks of a handoff, by this one call."""
    held = steady_tone_from(packets, MUSIC_HZ, call.escalated_ns)
    spoken = audible_until(packets, held) if held else None
    waited = since(held, max(spoken or 0, call.escalated_ns))
    until = call.joined_ns + 2000 * NS_PER_MS
    heard = hear(with_keys(packets, call.keys), call.escalated_ns, until)
    dead = heard.beyond(hear(call.control, call.escalated_ns, until)).dead_air_ms
    return [
        Figure("caller held: < 250 ms after the bot's last word", milliseconds(waited),
               waited is not None and waited < HELD_MS),
        Figure("dead air: 0 ms", milliseconds(dead), round(dead) == 0),
        Figure("success: > 99.5 %", f"{int(as_expected)} of 1 ({outcome_name(call.handoff)})",
               as_expected),
        Figure("callers who repeat themselves: < 5 %", _repeated(call),
               call.repeated == 0 if call.reported else None),
        Figure("handling time: -30 %", _handling(packets, call)),
    ]  # fmt: skip


def _repeated(call: Dispute) -> str:
    """By the orchestrator's counters of ReportOutcome."""
    return f"{call.repeated} of {call.reported} reported" if call.reported else "nobody to report"


def _handling(packets: Sequence[Packet], call: Dispute) -> str:
    """The agent's part of the whole conversation; without a bot all of it would be theirs."""
    agent = steady_tone_from(packets, AGENT_HZ, call.escalated_ns)
    if agent is None:
        return "no agent"
    own = (call.ended_ns - agent) / 1e9
    bots = (call.escalated_ns - call.answered_ns) / 1e9
    spared = 100 * bots / (bots + own)
    return f"agent {own:.1f} s, bot {bots:.1f} s before ({spared:.0f} % told already)"
