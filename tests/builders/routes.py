"""The routes in force, and the file they come from."""

from __future__ import annotations

from pathlib import Path

from orchestrator.app.routes_file import Routes
from orchestrator.routing.table import RoutingTable
from orchestrator.telemetry import Metrics

GOOD = "rules: [{name: first}]"


def routes_of(path: Path) -> Routes:
    routes = Routes(RoutingTable(), path, Metrics())
    routes.load()
    return routes


def names(routes: Routes) -> list[str]:
    return [rule.name for rule in routes.table.rules]


def stale(routes: Routes) -> float | None:
    return routes._metrics.registry.get_sample_value("voicefork_routes_stale")


def put(path: Path, text: str | None) -> None:
    """None = there is no such file."""
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
