"""Values: few are required, all are used, and wrong ones are refused with what to do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, HELMS, by_name, helm, parsed, refusal, template

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
        ("pbx.sip=asterisk.example.net:5060", "pbx.cidrs"),
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


MARKED_BASES = ("everything", "trial", "hostnetwork", "minimal")
NUMBERS_FROM = 21_000
TAKE_OTHERS_PLACE = {"global.imageRegistry", "redis.external.host"}
Leaf = tuple[str, ...]


def mark(number: int, leaf: Leaf, default: object) -> object:
    """A value of the same kind that stands nowhere else; None where the kind has too few."""
    limits = schema_of(leaf)
    if ".".join(leaf) in SAMPLES.keys() | TAKE_OTHERS_PLACE or isinstance(default, bool):
        return None
    if {"enum", "pattern"} & set(limits):
        return None
    text = f"sample-{number}"
    match default:
        case int():
            chosen = NUMBERS_FROM + number
            return chosen if chosen <= limits.get("maximum", chosen) else None
        case list():
            return [{"name": text}] if leaf[-1] in LISTS_OF_OBJECTS else [text]
        case dict():
            return {text: text}
        case str():
            return text
        case _:
            return None


def schema_of(leaf: Leaf) -> dict[str, Any]:
    at: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    for key in leaf:
        at = at.get("properties", {}).get(key, {})
    return at


def nested(values: dict[Leaf, object]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for leaf, value in values.items():
        at = whole
        for key in leaf[:-1]:
            at = at.setdefault(key, {})
        at[leaf[-1]] = value
    return whole


@pytest.fixture(scope="session")
def marked(tmp_path_factory: pytest.TempPathFactory) -> set[Leaf]:
    """The values that are found again when all are changed at once: one rendering for hundreds."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    chosen = {
        leaf: mark(number, leaf, without(defaults, leaf))
        for number, leaf in enumerate(everywhere())
    }
    marks = {leaf: value for leaf, value in chosen.items() if value is not None}
    path = tmp_path_factory.mktemp("values") / "marks.json"
    path.write_text(json.dumps(nested(marks)))
    found: set[Leaf] = set()
    for base in MARKED_BASES:
        done = helm(HELMS[0], "template", "x", str(CHART), "--values",
                    str(CHART / "ci" / f"{base}-values.yaml"), "--values", str(path))  # fmt: skip
        assert done.returncode == 0, done.stderr
        words = set(re.findall(r"[\w-]+", done.stdout))
        found |= {leaf for leaf, value in marks.items() if words & set(words_of(value))}
    return found


def words_of(value: object) -> list[str]:
    return re.findall(r"sample-\d+|\d+", json.dumps(value))


@pytest.mark.parametrize("leaf", everywhere(), ids=".".join)
def test_every_value_has_an_effect(leaf: Leaf, marked: set[Leaf]) -> None:
    if leaf in marked:
        return
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    setting = json.dumps(sample(leaf, without(defaults, leaf)))
    for base in BASES:
        if changes(f"{base}-values.yaml", ".".join(leaf), setting):
            return
    pytest.fail("nothing in the chart reads it")


def changes(base: str, key: str, setting: str) -> bool:
    done = helm(HELMS[0], "template", "x", str(CHART), "--namespace", "calls",
                "--values", str(CHART / "ci" / base), "--set-json", f"{key}={setting}")  # fmt: skip
    if done.returncode != 0:
        return False
    return by_name(parsed(done.stdout)) != by_name(template(base).manifests)


def test_settings_of_the_services_can_be_added() -> None:
    rendered = template(settings=("worker.config.reorder_ms=60", "orchestrator.config.dev=true"))

    worker = yaml.safe_load(rendered.one("ConfigMap", "-worker")["data"]["worker.yaml"])
    orchestrator = rendered.one("ConfigMap", "-orchestrator")["data"]["orchestrator.yaml"]
    assert worker["reorder_ms"] == 60
    assert yaml.safe_load(orchestrator)["dev"] is True
