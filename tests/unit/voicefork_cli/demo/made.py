"""Calls that nobody made: their packets and what their parties noted."""

from __future__ import annotations

import numpy as np
from voicefork.handoff.v1 import handoff_pb2
from voicefork_cli.demo.dispute import Dispute
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.pcm import Pcm, tone

from tests.unit.voicefork_cli.measure.made import at, packet, steady

MUSIC, AGENT, CALLER = 350.0, 600.0, 440.0


def vowel(first: int, pitch: float = 116.7, formant: float = 350.0) -> Pcm:
    """20 ms of a voice whose overtones are loudest at `formant`: a tone's neighbour, and none."""
    overtones = np.arange(1, 25) * pitch
    levels = -22.0 - 6.0 * np.abs(overtones - formant) / pitch
    voices = [
        tone(hz, 160, max(level, -42.0), first) for hz, level in zip(overtones, levels, strict=True)
    ]
    return np.asarray(np.sum(voices, axis=0), dtype=np.int16)


def speech(first: int, last: int) -> list[Packet]:
    return [packet(i, vowel(i * 160)) for i in range(first, last)]


def handed_over() -> list[Packet]:
    """4 s: a second of speech, of music, of the agent, of silence."""
    music, agent = steady(50, 100, MUSIC), steady(100, 150, AGENT)
    return [*speech(0, 50), *music, *agent, *steady(150, 200, None)]


def dispute(  # noqa: PLR0913 - each test has its own wish
    phase: handoff_pb2.Phase.ValueType = handoff_pb2.PHASE_CONNECTED,
    outcome: handoff_pb2.Outcome.ValueType = handoff_pb2.OUTCOME_CONNECTED,
    *,
    recognised: tuple[str, ...] = ("want to dispute",),
    context_ns: int | None = at(0.1),
    silent_ms: int = 0,
    settled: float = 2.0,
    control: tuple[Packet, ...] | None = None,
    agent_heard: tuple[Packet, ...] | None = None,
) -> Dispute:
    """Escalated at 0 s, answered at 1.9 s, settled at 2 s."""
    handoff = handoff_pb2.Handoff(phase=phase, outcome=outcome)
    handoff.timing.silent_ms = silent_ms
    return Dispute(
        answered_ns=at(0),
        escalated_ns=at(0),
        ended_ns=at(4),
        recognised=recognised,
        agent_answered_ns=at(1.9),
        agent_heard=tuple(steady(102, 250, CALLER)) if agent_heard is None else agent_heard,
        handoff=handoff,
        settled_ns=at(settled),
        context_ns=context_ns,
        summary="",
        control=tuple(steady(0, 250, MUSIC)) if control is None else control,
    )
