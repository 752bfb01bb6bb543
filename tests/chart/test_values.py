"""Values: few are required, all are used, and wrong ones are refused with what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, HELMS, by_name, helm, refusal, template

MOST_REQUIRED = 10


def leaves(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        return [leaf for key, value in values.items() for leaf in leaves(value, (*path, key))]
    return [path]


def test_at_most_ten_values_are_required() -> None:
    said = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())
    entries = [leaf for leaf in leaves(said) if leaf != ("edge", "trunks")]
    trunk = said["edge"]["trunks"][0]

    assert len(entries) + len(trunk) <= MOST_REQUIRED


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ("pbx.sip=", "pbx.sip"),
        ("pbx.ari.url=", "pbx.ari.url"),
        ("pbx.ari.password=", "pbx.ari.password"),
        ("worker.agent=", "worker.agent"),
        ("edge.trunks=null", "edge.trunks"),
    ],
)
def test_a_required_value_that_is_missing_is_named(left_out: str, told: str) -> None:
    assert told in refusal(left_out)


def test_a_redis_with_tls_that_opensips_cannot_speak_is_refused() -> None:
    said = refusal("redis.external.host=redis.example.net", "redis.external.tls=true",
                   "redis.existingSecret=redis")  # fmt: skip

    assert "cachedb_redis has no TLS" in said


@pytest.mark.parametrize(
    "wrong",
    [
        "worker.replica=3",
        "worker.media=pod",
        "worker.autoscaling.mode=auto",
        "worker.ports.rtp=30000",
        "worker.maxCalls=-1",
        "worker.agent=http://agent",
        "edge.kind=StatefulSet",
        "networkPolicies=true",
    ],
)
def test_the_schema_refuses(wrong: str) -> None:
    assert wrong.partition("=")[0].rpartition(".")[2] in refusal(wrong)


# Values without effect in one set may have one in another.
BASES = (
    "everything",
    "minimal",
    "trial",
    "keda",
    "cpu",
    "advertised",
    "hostnetwork",
    "external-redis",
)
SAMPLES = {
    "worker.media": "hostNetwork",
    "worker.autoscaling.mode": "pods",
    "worker.ports.rtp": "20000-20999",
    "rtpengine.ports.rtp": "20000-20999",
    "worker.agent": "grpc://other:1",
    "pbx.ari.url": "http://other:1",
    "edge.kind": "DaemonSet",
    "edge.service.type": "NodePort",
    "orchestrator.service.type": "NodePort",
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sample"}}],
    "redis.external.tls": False,
}
LISTS_OF_OBJECTS = {
    *("extraEnv", "extraVolumes", "extraVolumeMounts", "extraContainers", "tolerations"),
    *("imagePullSecrets", "egress", "routes", "policies", "trunks"),
}


def sample(leaf: tuple[str, ...], default: object) -> object:
    """Another value of the same kind."""
    path = ".".join(leaf)
    match default:
        case _ if path in SAMPLES:
            return SAMPLES[path]
        case bool():
            return not default
        case int():
            return default + 7
        case list():
            return [{"name": "sample"}] if leaf[-1] in LISTS_OF_OBJECTS else ["sample"]
        case dict():
            return {"sample": "sample"}
        case _:
            return "sample"


def without(values: dict[str, Any], leaf: tuple[str, ...]) -> object:
    for key in leaf:
        values = values[key]
    return values


def everywhere() -> list[tuple[str, ...]]:
    return leaves(yaml.safe_load((CHART / "values.yaml").read_text()))


@pytest.mark.parametrize("leaf", everywhere(), ids=".".join)
def test_every_value_has_an_effect(leaf: tuple[str, ...]) -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    changed: object = sample(leaf, without(defaults, leaf))
    setting = json.dumps(changed)

    for base in BASES:
        name = f"{base}-values.yaml"
        if changes(name, ".".join(leaf), setting):
            return
    pytest.fail("nothing in the chart reads it")


def changes(base: str, key: str, setting: str) -> bool:
    done = helm(HELMS[0], "template", "x", str(CHART), "--namespace", "calls",
                "--values", str(CHART / "ci" / base), "--set-json", f"{key}={setting}")  # fmt: skip
    if done.returncode != 0:
        return False
    made = (doc for doc in yaml.safe_load_all(done.stdout) if doc)
    return by_name(tuple(made)) != by_name(template(base).manifests)


def test_settings_of_the_services_can_be_added() -> None:
    rendered = template(settings=("worker.config.reorder_ms=60", "orchestrator.config.dev=true"))

    worker = yaml.safe_load(rendered.one("ConfigMap", "-worker")["data"]["worker.yaml"])
    orchestrator = rendered.one("ConfigMap", "-orchestrator")["data"]["orchestrator.yaml"]
    assert worker["reorder_ms"] == 60
    assert yaml.safe_load(orchestrator)["dev"] is True
