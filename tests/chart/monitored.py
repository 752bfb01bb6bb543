"""What is asked of Prometheus by alerts and dashboards, and by which names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.chart.conftest import CHART, ROOT

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARDS = tuple(sorted(CHART.glob("files/dashboards/*.json")))
_METRIC = re.compile(r"\b(?:voicefork|opensips|process)_\w+")
_STATISTIC = re.compile(r'update_stat\("voicefork:(\w+)"')


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """(dashboard and title, panel)."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield f"{path.name}: {panel['title']}", panel


def queries() -> Iterator[tuple[str, str]]:
    """(where it stands, PromQL); Grafana's own variables filled in."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for where, panel in panels():
        for target in panel["targets"]:
            yield where, target["expr"].replace("$__rate_interval", "5m")


def metrics_of(query: str) -> set[str]:
    return set(_METRIC.findall(query))


def edge_metrics() -> set[str]:
    """Counters of the edge's script, as OpenSIPS' prometheus module names them."""
    text = (ROOT / "opensips" / "routes" / "observe.cfg").read_text()
    return {f"opensips_voicefork_{name}" for name in _STATISTIC.findall(text)}
