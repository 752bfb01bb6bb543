"""How the pods run: what they may do, when they are taken away, how many there are."""

from __future__ import annotations

import pytest

from tests.chart.conftest import VALUES, template

OURS_ON_THE_NODE = {"x-voicefork-edge", "x-voicefork-rtpengine"}


@pytest.mark.parametrize("values", VALUES)
def test_every_container_passes_the_restricted_pod_security(values: str) -> None:
    for name, pod in template(values).pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "hostPort" not in str(container.get("ports", [])), name


@pytest.mark.parametrize("values", VALUES)
def test_only_the_edge_has_the_nodes_network_unless_asked_for(values: str) -> None:
    asked = {"x-voicefork-worker"} if values == "hostnetwork-values.yaml" else set()

    on_node = {name for name, pod in template(values).pods() if pod.get("hostNetwork")}

    assert on_node <= OURS_ON_THE_NODE | asked


def test_only_the_orchestrator_speaks_to_the_clusters_api() -> None:
    rendered = template("everything-values.yaml")

    speakers = {name for name, pod in rendered.pods() if pod["automountServiceAccountToken"]}

    assert speakers == {"x-voicefork-orchestrator"}
    assert rendered.all("ClusterRole") == []
    rules = rendered.one("Role", "")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} <= {
        "list", "watch", "patch", "create", "get", "update"
    }  # fmt: skip


def test_a_worker_is_never_taken_away_before_its_successor_stands() -> None:
    rollout = template().one("Deployment", "-worker")["spec"]["strategy"]["rollingUpdate"]

    assert rollout == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize("mode", ["keda", "external", "pods", "cpu"])
def test_an_autoscaled_worker_says_no_number_of_its_own(mode: str) -> None:
    rendered = template(f"{mode}-values.yaml")

    assert "replicas" not in rendered.one("Deployment", "-worker")["spec"]


def test_a_worker_is_meant_to_be_60_percent_full() -> None:
    scaler = template("pods-values.yaml").one("HorizontalPodAutoscaler", "-worker")

    assert scaler["spec"]["metrics"][0]["pods"]["target"]["averageValue"] == "180"
    assert scaler["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_new_routes_restart_no_worker() -> None:
    def annotations(*settings: str) -> object:
        pod = template(settings=settings).one("Deployment", "-worker")["spec"]["template"]
        return pod["metadata"]["annotations"]

    assert annotations() == annotations("worker.routes[0].name=other")
    assert annotations() != annotations("worker.maxCalls=77")


def test_passwords_are_in_secrets_alone() -> None:
    rendered = template(settings=("pbx.ari.password=hush-hush", "redis.password=hush-hush"))

    told = {m["kind"] for m in rendered.manifests if "hush-hush" in str(m)}

    assert told == {"Secret"}


def test_rtpengine_is_where_its_opensips_asks_for_it() -> None:
    rendered = template(settings=("edge.nodeSelector.edge=yes",))
    pods = dict(rendered.pods())
    edge, media = pods["x-voicefork-edge"], pods["x-voicefork-rtpengine"]

    assert '"127.0.0.1:2223"' in rendered.one("ConfigMap", "-edge")["data"]["values.json"]
    assert media["nodeSelector"] == edge["nodeSelector"] == {"edge": "yes"}
    (near,) = media["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near["topologyKey"] == "kubernetes.io/hostname"
    assert near["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "edge"
    # Its port keeps a second one off the node.
    assert media["containers"][0]["ports"][0]["containerPort"] == 2223


@pytest.mark.parametrize("values", VALUES)
def test_a_new_version_of_the_chart_alone_restarts_nothing(values: str) -> None:
    for manifest in template(values).manifests:
        if manifest["kind"] in {"Deployment", "DaemonSet", "StatefulSet"}:
            labels = manifest["spec"]["template"]["metadata"]["labels"]
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(labels)


@pytest.mark.parametrize("component", ["edge", "rtpengine", "worker", "orchestrator"])
def test_a_drained_node_takes_one_at_a_time(component: str) -> None:
    rendered = template()
    budget = rendered.one("PodDisruptionBudget", f"-{component}")["spec"]
    pods = rendered.one("Deployment", f"-{component}")["spec"]["template"]["metadata"]["labels"]

    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= pods.items()
