"""How the autoscalers of the chart are told to behave."""

from __future__ import annotations

import pytest

from tests.chart.conftest import template


def test_where_nobody_says_the_demand_keda_keeps_the_workers_there_are() -> None:
    spec = template("keda-values.yaml").one("ScaledObject", "-worker")["spec"]
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["fallback"]["replicas"] == spec["minReplicaCount"]


def test_keda_asks_the_orchestrators_page_for_the_demand() -> None:
    rendered = template("keda-values.yaml")
    service = rendered.one("Service", "-orchestrator")
    trigger = rendered.one("ScaledObject", "-worker")["spec"]["triggers"][0]["metadata"]
    port = {each["name"]: each["port"] for each in service["spec"]["ports"]}["admin"]
    assert trigger["url"] == f"http://{service['metadata']['name']}.calls.svc:{port}/autoscale"
    assert trigger["valueLocation"] == "demand"


@pytest.mark.parametrize("values", ["cpu-values.yaml", "pods-values.yaml", "external-values.yaml"])
def test_workers_come_at_once_and_go_one_a_minute(values: str) -> None:
    behavior = template(values).one("HorizontalPodAutoscaler", "-worker")["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_an_autoscaled_deployment_names_no_replicas() -> None:
    assert "replicas" not in template("keda-values.yaml").one("Deployment", "-worker")["spec"]
