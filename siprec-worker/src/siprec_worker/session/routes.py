"""Which AIs a call gets."""

from __future__ import annotations

from siprec_worker.config import Route
from siprec_worker.session.identity import Identity


class Routes:
    """The routes in force, in their order. Calls keep what they began with when it changes."""

    def __init__(self, listed: tuple[Route, ...], usual: Route) -> None:
        self.listed = listed  # replaced as a whole
        self._usual = usual

    def of(self, call: Identity) -> Route:
        """The first that takes the call, else the usual one."""
        for route in self.listed:
            if route.takes(call.did, call.tenant, call.trunk, call.route_hint):
                return route
        return self._usual

    def urls(self) -> set[str]:
        """Of every AI there may be to dial."""
        return {agent.url for route in (*self.listed, self._usual) for agent in route.agents}
