"""How good a leg sounds, estimated from what arrived: the E-model in short (ITU-T G.107).

Only the way to this worker is in it: loss, and the delay that is known here. Default values of
G.107 for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

from siprec_worker.media.model import TrackStats

_R_DEFAULT = 93.2  # G.107: R with all parameters at their defaults, but delay and equipment
_KNEE_MS = 177.3  # R. G. Cole, J. H. Rosenbluth: Voice over IP performance monitoring (2001)
_IMPAIRMENTS = {
    # Ie and Bpl of G.113 appendix I: G.711 without and with concealment of lost packets.
    "PCMU": (0.0, 4.3),
    "PCMA": (0.0, 4.3),
    # No value is given for these on the narrowband scale: as G.711, Opus with concealment.
    "OPUS": (0.0, 25.1),
}
_OTHERS = (0.0, 4.3)
_MOST = 100.0


@dataclass(frozen=True, slots=True)
class Quality:
    loss_percent: float  # never heard: neither in time nor made up for
    jitter_ms: float
    r_factor: float
    mos: float  # estimated, of conversational quality: 1 to 4.5


def quality(stats: TrackStats, codec: str, delay_ms: float) -> Quality | None:
    """None before the first packet.

    `codec`: SDP encoding name. `delay_ms`: of packets and reorder buffer; the network's own is
    not known to a receiver.
    """
    came = stats.packets - stats.duplicates - stats.late
    if came <= 0:
        return None
    unheard = max(0, stats.lost - stats.recovered)
    loss = 100 * unheard / (came + stats.lost)
    r_factor = rating(loss, codec, delay_ms + 2 * stats.jitter_ms)
    return Quality(loss, stats.jitter_ms, r_factor, mos(r_factor))


def rating(loss_percent: float, codec: str, delay_ms: float) -> float:
    """R = 93.2 - Id - Ie,eff, with loss at random (G.107 section 7.5: BurstR = 1).

    Ie,eff = Ie + (95 - Ie) * Ppl / (Ppl + Bpl);  Id = 0.024 d + 0.11 (d - 177.3) beyond the knee.
    """
    equipment, robustness = _IMPAIRMENTS.get(codec.upper(), _OTHERS)
    lossy = equipment + (95 - equipment) * loss_percent / (loss_percent + robustness)
    late = 0.024 * delay_ms + 0.11 * max(0.0, delay_ms - _KNEE_MS)
    return max(0.0, _R_DEFAULT - late - lossy)


def mos(r_factor: float) -> float:
    """The opinion that goes with R (G.107 annex B)."""
    r = min(max(r_factor, 0.0), _MOST)
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
