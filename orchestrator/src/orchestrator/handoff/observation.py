"""What the witness's reports add to a handoff's timing (worker.v1 WitnessReport)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.handoff.state import State
from orchestrator.handoff.tracks import Merged, Merging
from orchestrator.model import Phase, Timing, Witness


def witnessed(state: State, started_at: float, report: Witness) -> State:
    """The first hold audio as soon as it is known, the sums at the end: few revisions, no noise.

    A witness that began after the hold did takes the agent's voice for it: it knows the next change
    of source only. What is heard first is told at once, so with the caller on the way to the agent
    already, or connected, it is not what was heard on hold, and how soon that was stays unknown.
    """
    timing, live_at = state.timing, state.live_at
    if report.both_live_ms is not None:
        live_at = started_at + report.both_live_ms / 1000
    alone = state.phase is not Phase.CONNECTED and not isinstance(state.caller, Merging | Merged)
    if alone and timing.request_to_hold_ms is None and report.first_hold_audio_ms is not None:
        timing = _with_hold(state, timing, started_at, report.first_hold_audio_ms, report)
    if report.final:
        timing = replace(
            timing,
            silent_ms=report.silent_ms,
            missing_ms=report.missing_ms,
            longest_gap_ms=report.longest_gap_ms,
        )
    return replace(state, timing=timing, live_at=live_at, one_way=report.one_way)


def _with_hold(
    state: State, timing: Timing, started_at: float, heard_ms: int, report: Witness
) -> Timing:
    offset_ms = round((started_at - state.created_at) * 1000)
    timing = replace(timing, request_to_hold_ms=max(0, offset_ms + heard_ms))
    if report.phrase_end_ms is not None:  # one clock for both: exact
        return replace(timing, say_first_to_hold_ms=max(0, heard_ms - report.phrase_end_ms))
    if state.phrase_ended_at is not None:
        ended_ms = round((state.phrase_ended_at - started_at) * 1000)
        return replace(timing, say_first_to_hold_ms=max(0, heard_ms - ended_ms))
    return timing


def measured(timing: Timing) -> Mapping[str, int]:
    """What is known of a settled handoff, by the names of telemetry.HANDOFF_TIMES."""
    times = {
        "hold_heard": timing.request_to_hold_ms,
        "hold_heard_after_phrase": timing.say_first_to_hold_ms,
        "ring": timing.ring_ms,
        "merge": timing.merge_ms,
        "context_lead": timing.context_lead_ms,
        "dead_air": timing.dead_air_ms,
        "longest_gap": timing.longest_gap_ms,
    }
    return {what: spent for what, spent in times.items() if spent is not None}
