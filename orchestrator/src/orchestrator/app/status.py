"""What the admin page shows of us, from before there is anything to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.app.node import Readiness
from orchestrator.app.site import Site
from orchestrator.ari.connection import VOICE_MODULE, AriConnection
from orchestrator.errors import PbxError
from orchestrator.fleet.calls import Calls
from orchestrator.fleet.tenure import Tenure


@dataclass(slots=True)
class Status:
    """Filled in as the parts are opened: a replica that waits for its slot lives, unready."""

    calls: Calls | None = None
    readiness: Readiness | None = None
    tenure: Tenure | None = None
    sites: Mapping[str, tuple[Site, AriConnection]] = field(default_factory=dict)
    speech: str = ""  # the program that speaks texts

    async def missing(self) -> Sequence[str]:
        return ("slot",) if self.readiness is None else await self.readiness.missing()

    async def nodes(self) -> Mapping[str, object]:
        """Our slot, the other replicas, and what each Asterisk node can do."""
        tenure = self.tenure
        return {
            "app": tenure.app if tenure else "",
            "fence": tenure.fence if tenure else 0,
            "replicas": {
                app: {"address": holder.address, "alive": holder.alive}
                for app, holder in (tenure.others if tenure else {}).items()
            },
            "speech": self.speech,
            "nodes": {name: await _node(*each) for name, each in self.sites.items()},
        }

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


async def _node(site: Site, connection: AriConnection) -> Mapping[str, object]:
    broadcast: bool | None
    briefings: bool | None
    try:
        broadcast = await site.client.has_module("app_stasis_broadcast.so")
        briefings = await site.client.has_module(VOICE_MODULE)
    except PbxError:
        broadcast = briefings = None  # it does not answer just now
    return {
        "connected": connection.connected,
        "asterisk": connection.version,
        "stasis_broadcast": broadcast,
        "rest_over_websocket": connection.takes_requests,
        "briefings": briefings,
    }
