"""What the admin page shows of us, from before there is anything to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.app.node import Readiness
from orchestrator.fleet.calls import Calls


@dataclass(slots=True)
class Status:
    """Filled in as the parts are opened: a replica that waits for its slot lives, unready."""

    calls: Calls | None = None
    readiness: Readiness | None = None

    async def missing(self) -> Sequence[str]:
        return ("slot",) if self.readiness is None else await self.readiness.missing()

    def listed(self) -> Sequence[Mapping[str, object]]:
        if self.calls is None:
            return ()
        return [
            {
                "call_id": view.call_id,
                "tenant": view.tenant,
                "channel_id": view.channel_id,
                "node": view.node,
                "state": view.state,
                "worker_id": view.worker_id,
                "answered": view.answered,
                "codec": view.codec,
            }
            for view in self.calls.views()
        ]
