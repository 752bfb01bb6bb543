"""The chart's Role grants what the code asks the cluster for, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kmock import KubernetesEmulator, ResourceInfo, Server, resource
from orchestrator.cluster.kubernetes import open_kubernetes
from orchestrator.cluster.leading import LeaseRecord
from orchestrator.config import load
from orchestrator.errors import ClusterError

from tests.chart.conftest import template

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}


async def test_the_role_grants_just_what_is_asked_for() -> None:
    rendered = template()
    asked: set[tuple[str, str, str]] = set()
    async with KubernetesEmulator() as cluster:
        for each in (
            "discovery.k8s.io/v1/endpointslices", "v1/pods", "coordination.k8s.io/v1/leases"
        ):  # fmt: skip
            cluster.resources[resource(each)] = ResourceInfo()
        async with (
            Server(cluster) as server,
            open_kubernetes("calls", "w", "l", str(server.url)) as api,
        ):
            await api.list_slices()
            cluster["/apis/discovery.k8s.io/v1/namespaces/calls/endpointslices"] << ({},)
            with pytest.raises(ClusterError):
                _ = [change async for change in api.watch_slices("1", 1.0)]
            await api.read_lease()
            await api.write_lease(LeaseRecord("one", 15, 0))
            for write in (api.write_lease(LeaseRecord("one", 15, 0, "1")), api.write_cost("w1", 1)):
                with pytest.raises(ClusterError):  # the emulator does not know them
                    await write
        for request in cluster:
            verb = VERBS[request.method.value if request.method else ""]
            assert request.resource is not None
            if verb == "get" and request.name is None:
                verb = "watch" if request.params.get("watch") else "list"
            asked.add((request.resource.group or "", request.resource.plural or "", verb))
    granted = {
        (group, kind, verb)
        for rule in rendered.one("Role", "-orchestrator")["rules"]
        for group in rule["apiGroups"]
        for kind in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == asked


def test_the_settings_name_the_workers_service_and_the_roles_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = template()
    file = tmp_path / "orchestrator.yaml"
    file.write_text(rendered.one("ConfigMap", "-orchestrator")["data"]["orchestrator.yaml"])
    monkeypatch.setenv("VOICEFORK_ADVERTISE", "192.0.2.1:7070")
    settings = load(["--config", str(file)], os.environ)
    rules = rendered.one("Role", "-orchestrator")["rules"]
    service = rendered.one("Service", "-worker")["metadata"]
    assert settings.kubernetes_workers == f"{service['namespace']}/{service['name']}"
    assert [settings.kubernetes_lease] in [rule.get("resourceNames") for rule in rules]
