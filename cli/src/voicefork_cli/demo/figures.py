"""The demo's table: measured on the RTP that caller and agent received."""

from __future__ import annotations

from collections.abc import Sequence

from voicefork.handoff.v1 import handoff_pb2

from voicefork_cli.demo.cast import AGENT_HZ, CALLER_HZ, MUSIC_HZ
from voicefork_cli.demo.dispute import Dispute
from voicefork_cli.demo.ears import audible_until
from voicefork_cli.demo.handoffs import outcome_name
from voicefork_cli.demo.pattern_figures import pattern_figures
from voicefork_cli.demo.question import Question
from voicefork_cli.demo.rows import Figure, milliseconds, since, steady_tone_from, with_keys
from voicefork_cli.measure.heard import Heard, hear
from voicefork_cli.measure.packets import PACKET_MS, Packet

NS_PER_MS = 1_000_000
GREETING_NS = 1_000_000_000  # of the greeting: music, then words, and nothing between
AFTERWARDS_NS = 2_000_000_000
WITNESS_TOLERANCE_MS = 20
CONTROL_MISSES = 0.1  # of the time at most: a control call that hears nothing excuses nothing


def question_figures(packets: Sequence[Packet], call: Question) -> list[Figure]:
    """From the 200 OK to the hang-up."""
    heard = hear(packets, call.answered_ns, call.ended_ns)
    first = since(heard.first_audio_ns, call.answered_ns)
    understood = any(call.expected in phrase for phrase in call.recognised)
    answered = since(call.answer_heard_ns, call.asked_until_ns)
    control = hear(call.control, call.answered_ns, call.ended_ns)
    beyond = heard.beyond(control)
    waiting = hear(packets, call.answered_ns, call.greeted_ns + GREETING_NS)
    return [
        Figure("first audio after 200 OK", milliseconds(first), first is not None),
        Figure(
            "missing (no packet for more than 60 ms)",
            milliseconds(beyond.missing_ms),
            round(beyond.missing_ms) == 0,
        ),
        Figure(
            "  missing in a call without a bot",
            milliseconds(control.missing_ms),
            _is_alive(control),
        ),
        Figure(
            "silent until the bot has greeted",
            milliseconds(waiting.silent_ms),
            round(waiting.silent_ms) == 0,
        ),
        Figure("longest gap between packets", milliseconds(heard.longest_gap_ms), None),
        Figure("packets received", f"{heard.packets} of {_expected_packets(call)}", None),
        Figure("words recognised by the AI", ", ".join(call.recognised) or "-", understood),
        Figure("the bot's answer", call.answer or "-", bool(call.answer)),
        Figure("question's end -> answer heard", _apart(answered), answered is not None),
    ]


def _apart(value: float | None) -> str:
    """Milliseconds, or how much earlier."""
    return milliseconds(value) if value is None or value >= 0 else f"{-value:.0f} ms before it"


def _expected_packets(call: Question) -> int:
    return round((call.ended_ns - call.answered_ns) / NS_PER_MS / PACKET_MS)


def dispute_figures(
    packets: Sequence[Packet], call: Dispute, expected: handoff_pb2.Outcome.ValueType
) -> list[Figure]:
    """From the escalation to the end of the handoff and 2 s of what came of it.

    Dead air is what this call misses beyond the control call beside it, plus silence. Music, and
    the agent where there is one, must have been heard: a caller can be without dead air, and still
    be with nobody.
    """
    connected, until_ns = call.reached, call.joined_ns + AFTERWARDS_NS
    held_ns = steady_tone_from(packets, MUSIC_HZ, call.escalated_ns)
    spoken_ns = audible_until(packets, held_ns) if held_ns else None
    agent_ns = steady_tone_from(packets, AGENT_HZ, call.escalated_ns)
    heard = hear(packets, call.escalated_ns, until_ns)
    control = hear(call.control, call.escalated_ns, until_ns)
    beyond = hear(with_keys(packets, call.keys), call.escalated_ns, until_ns).beyond(control)
    timing = call.handoff.timing
    witness = timing.silent_ms + timing.missing_ms
    lead = since(agent_ns if connected else held_ns, call.context_ns)
    held = since(held_ns, call.escalated_ns)
    rows = [
        Figure("words recognised by the AI", ", ".join(call.recognised) or "-", _heard(call)),
        Figure("escalation -> hold music heard", milliseconds(held), held is not None),
        Figure("  of it after the bot's last word", milliseconds(since(held_ns, spoken_ns))),
        Figure(
            "dead air during the whole handoff",
            f"{milliseconds(beyond.dead_air_ms)} (missing {beyond.missing_ms:.0f}"
            f" + silent {beyond.silent_ms:.0f})",
            round(beyond.dead_air_ms) == 0,
        ),
        Figure(
            "  missing in a call without a handoff",
            milliseconds(control.missing_ms),
            _is_alive(control),
        ),
        Figure("longest gap between packets", milliseconds(heard.longest_gap_ms)),
    ]
    rows += pattern_figures(packets, call)
    if connected:
        what = "agent's key" if call.key_ns else "agent answered"
        answered = since(agent_ns, call.key_ns or call.agent_answered_ns)
        talks = since(steady_tone_from(call.agent_heard, CALLER_HZ, call.joined_ns), call.joined_ns)
        rows += [
            Figure(f"{what} -> caller hears agent", milliseconds(answered), answered is not None),
            Figure("connected -> agent hears caller", milliseconds(talks), talks is not None),
        ]
    what = "the merge" if connected else "the music"
    published = f"context published before {what} by"
    rows += [
        Figure(published, milliseconds(lead), not connected or (lead is not None and lead > 0)),
        Figure(
            "witness against caller's own count",
            f"{witness} ms : {heard.dead_air_ms:.0f} ms",
            abs(witness - heard.dead_air_ms) <= WITNESS_TOLERANCE_MS,
        ),
        Figure("outcome", outcome_name(call.handoff), call.handoff.outcome == expected),
    ]
    return rows


def _is_alive(control: Heard) -> bool:
    return control.missing_ms <= CONTROL_MISSES * control.duration_ms


def _heard(call: Dispute) -> bool:
    return any("dispute" in phrase for phrase in call.recognised)
