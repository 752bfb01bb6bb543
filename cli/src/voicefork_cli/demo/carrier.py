"""A carrier that does as a REFER asks (RFC 3515): it calls the desk, and moves its caller there."""

from __future__ import annotations

from dataclasses import dataclass, field

from voicefork_cli.sim.caller import CarrierCaller
from voicefork_cli.sim.errors import CallRefused, CallTimeout
from voicefork_cli.sim.leg import Leg
from voicefork_cli.sim.referral import Referral
from voicefork_cli.sim.source import Source

TRYING, OK, UNAVAILABLE = 100, 200, 503
DESK_SECONDS = 20.0


@dataclass(slots=True)
class Forwarding(Referral):
    """Answers 202, dials the Refer-To with `second`, and tells how that ends by NOTIFY."""

    second: CarrierCaller = field(kw_only=True)
    source: Source = field(kw_only=True)

    async def _follow(self, leg: Leg) -> None:
        uri = self.asked_for[-1].strip("<>")
        await self._notify(leg, TRYING)
        try:
            await self.second.dial(uri, self.source, limit_seconds=DESK_SECONDS)
        except CallRefused as error:
            await self._notify(leg, error.status)
        except CallTimeout:
            await self._notify(leg, UNAVAILABLE)
        else:
            await self._notify(leg, OK)
