"""Who reaches whom: nothing is open to everybody by accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chart.conftest import VALUES, Manifest, template

OPEN = {"x-voicefork-asterisk", "x-voicefork-edge", "x-voicefork-rtpengine"}


def rules(values: str, *settings: str) -> Iterator[tuple[str, Manifest]]:
    for policy in template(values, settings).all("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or []:
            yield policy["metadata"]["name"], rule


@pytest.mark.parametrize("values", VALUES)
def test_every_rule_says_from_whom_and_to_which_port(values: str) -> None:
    for name, rule in rules(values):
        # `helm test` speaks to every port, from its own pod, for as long as it runs.
        assert rule.get("ports") or name == "x-voicefork-test", name
        # The trial Asterisk's SIP and RTP are open on purpose, and carriers' to the edge.
        assert rule.get("from") or name in OPEN, (name, rule)


@pytest.mark.parametrize("values", VALUES)
def test_every_component_with_a_port_has_a_policy(values: str) -> None:
    rendered = template(values)
    if not rendered.all("NetworkPolicy"):
        return
    covered = {p["metadata"]["name"] for p in rendered.all("NetworkPolicy")}

    # To a pod with the node's network no policy applies.
    asked = {name for name, pod in rendered.pods() if not pod.get("hostNetwork")}

    assert asked <= covered


def test_redis_is_reached_by_the_services_alone() -> None:
    (rule,) = [rule for name, rule in rules("trial-values.yaml") if name.endswith("-redis")]

    components = {
        source["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for source in rule["from"]
    }
    assert components == {"worker", "orchestrator", "edge"}
    assert rule["ports"] == [{"port": 6379, "protocol": "TCP"}]


def test_rtpengine_is_controlled_by_its_opensips_alone() -> None:
    (rule,) = [
        rule
        for name, rule in rules("hostnetwork-values.yaml")
        if {"port": 2223, "protocol": "UDP"} in rule.get("ports", [])
    ]

    (source,) = rule["from"]
    assert source["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "edge"


@pytest.mark.parametrize("port", [6379, 7070])
def test_workers_with_the_nodes_network_are_let_in_by_its_address(port: int) -> None:
    (rule,) = [
        rule
        for _, rule in rules("hostnetwork-values.yaml")
        if any(to["port"] == port for to in rule.get("ports", []))
    ]

    assert {"ipBlock": {"cidr": "192.0.2.128/26"}} in rule["from"]
