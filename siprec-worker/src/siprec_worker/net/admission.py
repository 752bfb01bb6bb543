"""Whether one more call fits: said before the INVITE is looked at, so that a 503 costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from siprec_worker.net.rtp_ports import RtpPorts

PAIRS_PER_CALL = 3  # two legs and the bot's voice
_WEIGHT = 0.2  # of the newest tick: one stall of the machine is no overload, ten ticks are
_WORST = 2.0  # times the limit: what the longest stall counts as, so that it takes four in a row


@dataclass(frozen=True, slots=True)
class Limits:
    calls: int
    lag: float  # seconds that ticks may be late, smoothed


class Admission:
    """Counts calls, free ports and the lateness of ticks; `draining` ends it all.

    `calls`: how many there are now. Tell it every tick.
    """

    def __init__(
        self, limits: Limits, interval: float, ports: RtpPorts, calls: Callable[[], int]
    ) -> None:
        self.draining = False
        self.lag = 0.0  # seconds, smoothed
        self._limits = limits
        self._interval = interval
        self._ports = ports
        self._calls = calls
        self._last_tick: float | None = None

    def on_tick(self, now: float) -> None:
        if self._last_tick is not None:
            late = max(now - self._last_tick - self._interval, 0.0)
            self.lag += _WEIGHT * (min(late, _WORST * self._limits.lag) - self.lag)
        self._last_tick = now

    @property
    def obstacle(self) -> str:
        """Why no call is taken now; empty = one is."""
        if self.draining:
            return "draining"
        if (calls := self._calls()) >= self._limits.calls:
            return f"{calls} calls"
        if self.lag > self._limits.lag:
            return f"ticks are {self.lag * 1000:.0f} ms late"
        if self._ports.free < PAIRS_PER_CALL:
            return f"{self._ports.free} RTP port pairs are free"
        return ""

    def admits(self) -> bool:
        return not self.obstacle
