"""What Helm rendered, as pods of `podman play kube`: the cluster's part is played here.

podman 4.3 knows no Service, downward API, probe or replica, and publishes each containerPort on
every address of the machine. So names are hosts of each pod, fields are filled in, and the rest is
left out; image, arguments, configuration, volumes and security settings stay as they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.chart.conftest import Manifest

Changed = dict[str, Any]
PROBES = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")


def workload(manifests: Iterable[Manifest], component: str) -> Manifest:
    """The Deployment or StatefulSet of a component."""
    return next(
        m
        for m in manifests
        if m["kind"] in ("Deployment", "StatefulSet")
        and m["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )


def playable(
    manifests: Iterable[Manifest], component: str, addresses: Mapping[str, str]
) -> list[Changed]:
    """The component's pod and the ConfigMaps it mounts. `addresses`: of each component's pod."""
    listed = list(manifests)
    found = workload(listed, component)
    own, told = addresses[component], passwords(listed)
    spec: Changed = json.loads(json.dumps(found["spec"]["template"]["spec"]))
    for each in ("serviceAccountName", "topologySpreadConstraints", "enableServiceLinks"):
        spec.pop(each, None)
    name = found["metadata"]["name"]
    fields = {"status.podIP": own, "status.hostIP": own, "metadata.name": name}
    for container in spec["containers"]:
        for each in (*PROBES, "ports"):
            container.pop(each, None)
        for entry in container.get("env", []):
            field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            if field is not None:
                del entry["valueFrom"]
                entry["value"] = fields.get(field, "default")
        _expand(container, told)
    _flatten(spec)
    prefix = name.removesuffix(component)
    spec["hostAliases"] = [
        {"ip": address, "hostnames": [prefix + other]} for other, address in addresses.items()
    ]
    metadata = {"name": name, "labels": found["spec"]["template"]["metadata"]["labels"]}
    mounted = {v["configMap"]["name"] for v in spec.get("volumes", []) if "configMap" in v}
    maps = [m for m in listed if m["kind"] == "ConfigMap" and m["metadata"]["name"] in mounted]
    return [
        *map(dict, maps),
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
    ]


def _expand(container: Changed, told: Mapping[str, Mapping[str, str]]) -> None:
    """$(NAME) in later values: the kubelet does that, podman does not."""
    known: dict[str, str] = {}
    for entry in container.get("env", []):
        if "valueFrom" in entry:
            reference = entry["valueFrom"]["secretKeyRef"]
            known[entry["name"]] = told[reference["name"]][reference["key"]]
        else:
            for name, value in known.items():
                entry["value"] = str(entry["value"]).replace(f"$({name})", value)
            known[entry["name"]] = str(entry["value"])


def _flatten(spec: Changed) -> None:
    """podman makes no folder for `path: trial/x` of a ConfigMap: such a volume is left out, and the
    image has the same files."""
    nested = {
        volume["name"]
        for volume in spec.get("volumes", [])
        if any("/" in item["path"] for item in volume.get("configMap", {}).get("items", []))
    }
    spec["volumes"] = [v for v in spec.get("volumes", []) if v["name"] not in nested]
    for container in spec["containers"]:
        mounts = container.get("volumeMounts", [])
        container["volumeMounts"] = [m for m in mounts if m["name"] not in nested]


def passwords(manifests: Iterable[Manifest]) -> dict[str, dict[str, str]]:
    """What is in the Secrets, by their names."""
    return {m["metadata"]["name"]: m["stringData"] for m in manifests if m["kind"] == "Secret"}


def as_podman_secret(fields: Mapping[str, str]) -> bytes:
    """What `podman secret create` is given in place of an inline Secret, which it does not take."""
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in fields.items()}
    return json.dumps(encoded).encode()
