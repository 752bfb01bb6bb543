"""What the handoffs of a steady load came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.measure.heard import hear
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.tones import tones_of

from bench.handoff_calls import AGENT, MUSIC, SURE_PACKETS, TONES
from bench.handoff_cpu import show_spending
from bench.handoff_figures import PERCENTS, Figures, percentile

CONTROL_NS = 2_000_000_000


@dataclass(slots=True)
class Rushed:
    """One call of the load. Times are CLOCK_REALTIME ns, 0 = it did not come so far."""

    heard: Sequence[Packet] = ()
    escalated_ns: int = 0
    ended_ns: int = 0
    ack_ms: float | None = None
    timing: pb.Timing | None = None
    step: str = "dialling"  # begun last
    error: str = ""

    def from_tone(self, hz: int) -> int | None:
        """Arrival of the first of SURE_PACKETS packets in a row of that tone alone."""
        run = 0
        for number, packet in enumerate(self.heard):
            wanted = packet.arrival_ns >= self.escalated_ns and tones_of(packet, TONES) == {hz}
            run = run + 1 if wanted else 0
            if run == SURE_PACKETS:
                return self.heard[number - SURE_PACKETS + 1].arrival_ns
        return None


@dataclass(frozen=True, slots=True)
class Judged:
    """What its caller heard, in milliseconds."""

    hold_heard_ms: float
    missing_ms: float


def judge(rushed: Rushed, control: Sequence[Packet]) -> Judged | str:
    """Or what was wrong with it."""
    if rushed.error:
        return rushed.error
    held, agent = rushed.from_tone(MUSIC), rushed.from_tone(AGENT)
    if held is None or agent is None:
        return "the caller did not hear " + ("music" if held is None else "the agent")
    heard = hear(rushed.heard, held, rushed.ended_ns)
    beside = [p for p in control if abs(p.arrival_ns - held) < CONTROL_NS + rushed.ended_ns - held]
    beyond = heard.beyond(hear(beside, held, rushed.ended_ns))
    if heard.silent_ms:
        return f"{heard.silent_ms:.0f} ms of silence at the caller"
    return Judged((held - rushed.escalated_ns) / 1e6, beyond.missing_ms)


def figures_of(
    calls: Sequence[Rushed], control: Sequence[Packet], rate: float, offered: float
) -> Figures:
    judged = [judge(call, control) for call in calls]
    failures = [each for each in judged if isinstance(each, str)]
    good = [each for each in judged if isinstance(each, Judged)]
    ranked = {
        "ack_ms": [call.ack_ms for call in calls if call.ack_ms is not None],
        "hold_heard_ms": [each.hold_heard_ms for each in good],
        "merge_ms": [float(call.timing.merge_ms) for call in calls if call.timing is not None],
    }
    return {
        "rate": rate,
        "rate_offered": round(offered, 1),
        "handoffs": len(calls),
        "failed": len(failures),
        **{
            f"{name}_p{n}": percentile(found, n) for name, found in ranked.items() for n in PERCENTS
        },
        "missing_ms_max": round(max((each.missing_ms for each in good), default=0.0), 1),
        "failures": dict(Counter(failures)),
    }


def show_load(figures: Figures, console: Console) -> None:
    load = figures.get("load")
    if not isinstance(load, dict):
        return
    console.print(
        f"{load['handoffs']} handoffs at {load['rate_offered']} a second: {load['failed']} failed",
        highlight=False,
    )
    for name in ("ack_ms", "hold_heard_ms", "merge_ms"):
        ranked = " / ".join(str(load[f"{name}_p{n}"]) for n in PERCENTS)
        console.print(f"  {name} p50 / p95 / p99: {ranked}", highlight=False)
    console.print(f"  missing_ms_max: {load['missing_ms_max']}", highlight=False)
    show_spending(load["cpu"], console)
    for reason, times in load["failures"].items():
        console.print(f"failed under load: {times} x {reason}", markup=False)


def load_misses(figures: Figures) -> list[str]:
    """The aim that is missed: not one of them fails, at the rate that was asked for."""
    load = figures.get("load")
    if not isinstance(load, dict):
        return []
    missed = []
    if load["failed"]:
        missed.append(f"{load['failed']} of {load['handoffs']} failed under load")
    if load["rate_offered"] < 0.95 * load["rate"]:
        missed.append(f"only {load['rate_offered']} handoffs a second were begun")
    return missed
