"""Who reaches whom: nothing is open to everybody by accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chart.conftest import VALUES, Manifest, template


def rules(values: str, *settings: str) -> Iterator[tuple[str, Manifest]]:
    for policy in template(values, settings).all("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or []:
            yield policy["metadata"]["name"], rule


@pytest.mark.parametrize("values", VALUES)
def test_every_rule_says_from_whom_and_to_which_port(values: str) -> None:
    for name, rule in rules(values):
        # `helm test` speaks to every port, from its own pod, for as long as it runs.
        assert rule.get("ports") or name == "x-voicefork-test", name
        # The trial Asterisk's SIP and RTP are open on purpose.
        assert rule.get("from") or name == "x-voicefork-asterisk", (name, rule)


@pytest.mark.parametrize("values", VALUES)
def test_every_component_with_a_port_has_a_policy(values: str) -> None:
    rendered = template(values)
    if not rendered.all("NetworkPolicy"):
        return
    covered = {p["metadata"]["name"] for p in rendered.all("NetworkPolicy")}

    # The edge takes calls from carriers; with the node's network no policy applies to it.
    asked = {name for name, _ in rendered.pods()} - {"x-voicefork-edge", "x-voicefork-rtpengine"}

    assert asked <= covered


def test_redis_is_reached_by_the_services_alone() -> None:
    (rule,) = [rule for name, rule in rules("trial-values.yaml") if name.endswith("-redis")]

    components = {
        source["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for source in rule["from"]
    }
    assert components == {"worker", "orchestrator", "edge"}
    assert rule["ports"] == [{"port": 6379, "protocol": "TCP"}]
