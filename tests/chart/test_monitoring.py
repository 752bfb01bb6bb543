"""Alerts, their runbook and the dashboards, as Prometheus and Grafana would read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from orchestrator.model import Outcome

from tests.chart.conftest import ROOT, template
from tests.chart.monitored import ALERTS, DASHBOARDS, panels, queries, rules


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool: apt-get install prometheus")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def test_every_alert_is_raised_by_what_it_is_for(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yaml"), tmp_path)
    done = promtool("test", "rules", tmp_path / "alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_that_raises_it() -> None:
    tests = yaml.safe_load(Path(__file__).with_name("alerts_test.yaml").read_text())["tests"]
    raised = {
        each["alertname"]
        for test in tests
        for each in test["alert_rule_test"]
        if each.get("exp_alerts")
    }
    assert raised == {rule["alert"] for rule in rules()}


def test_every_query_is_promql(tmp_path: Path) -> None:
    recorded = [{"record": f"q:{n}", "expr": query} for n, (_, query) in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_section_in_the_runbook() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    anchors = {f"docs/runbook.md#{heading.lower().replace(' ', '-')}" for heading in headings}
    assert {rule["annotations"]["runbook"] for rule in rules()} <= anchors


def test_outcomes_are_named_as_the_orchestrator_counts_them() -> None:
    named = {
        outcome
        for _, query in queries()
        for found in re.findall(r'outcome[=!]~?"([^"]+)"', query)
        for outcome in found.split("|")
    }
    assert named <= {outcome.name.lower() for outcome in Outcome}
    assert "pbx_error" in named


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_found_by_its_name_and_its_panels_do_not_overlap(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == path.stem
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_panel_asks_the_chosen_data_source() -> None:
    for where, panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", where


def test_every_component_with_metrics_has_a_monitor_of_a_port_it_has() -> None:
    rendered = template("everything-values.yaml")
    for component in ("worker", "orchestrator", "edge"):
        port = rendered.one("PodMonitor", f"-{component}")["spec"]["podMetricsEndpoints"][0]["port"]
        pods = dict(rendered.pods())
        spec = next(spec for name, spec in pods.items() if name.endswith(f"-{component}"))
        ports = {each["name"] for box in spec["containers"] for each in box.get("ports", [])}
        assert port in ports
