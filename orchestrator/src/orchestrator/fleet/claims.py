"""How calls that are offered to every replica are spread: who has fewer calls answers sooner."""

from __future__ import annotations

LONGEST_SECONDS = 0.15  # the dialplan offers a call for half a second
_HALF_WAY = 50  # calls


def patience(calls: int) -> float:
    """Seconds that a replica with so many calls waits before it claims another one.

    Steep where replicas differ by a few calls, and never too long.
    """
    return LONGEST_SECONDS * calls / (calls + _HALF_WAY)
