"""Certificates: who gets which, with which names, and where the services look for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.chart.conftest import Manifest, Rendered, refusal, template

SERVICES = ("worker", "orchestrator")
OWN_SECRETS = ("worker.tls.existingSecret=theirs-w", "orchestrator.tls.existingSecret=theirs-o")


def said(rendered: Rendered, service: str) -> dict[str, Any]:
    """A service's settings."""
    data = rendered.one("ConfigMap", f"-{service}")["data"][f"{service}.yaml"]
    settings: dict[str, Any] = yaml.safe_load(data)
    return settings


def mounted(pod: Manifest) -> dict[str, str]:
    """Path of a Secret's mount -> the Secret's name."""
    secrets = {
        volume["name"]: volume["secret"]["secretName"]
        for volume in pod.get("volumes", [])
        if "secret" in volume
    }
    (container,) = pod["containers"]
    mounts = container.get("volumeMounts", [])
    return {m["mountPath"]: secrets[m["name"]] for m in mounts if m["name"] in secrets}


def pod_of(rendered: Rendered, service: str) -> Manifest:
    pod: Manifest = rendered.one("Deployment", f"-{service}")["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("values", ["everything-values.yaml", "production-values.yaml"])
def test_each_has_a_certificate_with_the_name_that_the_others_look_for(values: str) -> None:
    rendered = template(values)
    certificates = {c["spec"]["secretName"]: c["spec"] for c in rendered.all("Certificate")}

    for service in SERVICES:
        secret = mounted(pod_of(rendered, service))["/etc/voicefork/tls"]
        for other in SERVICES:
            looked_for = said(rendered, other)[f"grpc_{service}_name"]
            assert looked_for in certificates[secret]["dnsNames"]
        assert {"server auth", "client auth"} <= set(certificates[secret]["usages"])


def test_no_certificate_has_the_name_of_another_service() -> None:
    rendered = template("everything-values.yaml")
    names = {f"x-voicefork-{service}" for service in SERVICES}

    for certificate in rendered.all("Certificate"):
        own = {certificate["metadata"]["name"]}
        assert not (names - own) & set(certificate["spec"]["dnsNames"])


def test_workers_dial_the_orchestrators_service_by_a_name_of_its_certificate() -> None:
    rendered = template("everything-values.yaml")
    host = said(rendered, "worker")["orchestrator"].partition(":")[0]

    assert host in rendered.one("Certificate", "-orchestrator")["spec"]["dnsNames"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_files_are_where_the_secret_is_mounted(service: str) -> None:
    rendered = template("everything-values.yaml")
    settings = said(rendered, service)

    files = {settings[f"grpc_{part}"] for part in ("cert", "key", "ca")}

    assert files == {f"/etc/voicefork/tls/{name}" for name in ("tls.crt", "tls.key", "ca.crt")}
    (container,) = pod_of(rendered, service)["containers"]
    # A subPath would never see the renewed files.
    assert not any("subPath" in mount for mount in container["volumeMounts"])


def test_secrets_of_your_own_take_the_place_of_certificates() -> None:
    rendered = template(settings=OWN_SECRETS)

    assert rendered.all("Certificate") == []
    for service, secret in (("worker", "theirs-w"), ("orchestrator", "theirs-o")):
        assert mounted(pod_of(rendered, service)) == {"/etc/voicefork/tls": secret}
        assert "grpc_cert" in said(rendered, service)
    assert mounted(rendered.one("Pod", "-test")["spec"]) == {"/etc/voicefork/tls": "theirs-o"}


@pytest.mark.parametrize("one", OWN_SECRETS)
def test_a_certificate_for_one_side_alone_is_refused(one: str) -> None:
    assert "mTLS wants a certificate for both" in refusal(one)


def test_without_mtls_the_workers_keep_sip_over_tls() -> None:
    rendered = template("everything-values.yaml", settings=("certificates.mtls=false",))

    names = {c["metadata"]["name"] for c in rendered.all("Certificate")}
    assert names == {"x-voicefork-worker", "x-voicefork-edge"}
    assert "sip_tls" in said(rendered, "worker")
    for service in SERVICES:
        assert not any(key.startswith("grpc_c") for key in said(rendered, service))
    assert mounted(pod_of(rendered, "orchestrator")) == {}


def test_without_certificates_nothing_asks_for_one() -> None:
    rendered = template()

    for service in SERVICES:
        assert mounted(pod_of(rendered, service)) == {}
        assert not any("tls" in key or "grpc_c" in key for key in said(rendered, service))
    arguments = rendered.one("Pod", "-test")["spec"]["containers"][0]["args"]
    assert not any(argument.startswith("--tls") for argument in arguments)


def test_the_doctor_shows_a_certificate_for_clients_and_knows_the_services_names() -> None:
    rendered = template("everything-values.yaml")
    pod = rendered.one("Pod", "-test")["spec"]

    assert mounted(pod) == {"/etc/voicefork/tls": "x-voicefork-client-tls"}
    arguments = dict(a.split("=", 1) for a in pod["containers"][0]["args"] if "=" in a)
    assert arguments["--tls-ca"] == "/etc/voicefork/tls/ca.crt"
    assert arguments["--tls-name"] == said(rendered, "worker")["grpc_orchestrator_name"]
    assert arguments["--tls-worker-name"] == said(rendered, "orchestrator")["grpc_worker_name"]
    assert arguments["--worker-control"] == "7080"


def test_agents_may_be_shown_a_certificate_of_their_own() -> None:
    rendered = template(settings=("worker.agentTls.existingSecret=vendors",))
    settings = said(rendered, "worker")

    assert mounted(pod_of(rendered, "worker")) == {"/etc/voicefork/agent-tls": "vendors"}
    assert {settings[f"agent_{part}"] for part in ("cert", "key", "ca")} == {
        f"/etc/voicefork/agent-tls/{name}" for name in ("tls.crt", "tls.key", "ca.crt")
    }


EDGE_TLS = ("edge.tls.existingSecret=carriers",)


def containers(*settings: str, values: str = "minimal-values.yaml") -> dict[str, Manifest]:
    """The edge's, by name."""
    pod = pod_of(template(values, settings=settings), "edge")
    return {one["name"]: one for one in [*pod["initContainers"], *pod["containers"]]}


def test_carriers_see_a_renewed_certificate_without_a_restart() -> None:
    found = containers(*EDGE_TLS)
    rotating = found["certificate"]

    assert rotating["command"][1] == "/etc/voicefork/edge/rotate.py"
    # What the one has rendered the other keeps: the same values, the same folder.
    assert rotating["args"] == found["render"]["args"]
    assert rotating["volumeMounts"] == found["render"]["volumeMounts"]
    assert not any("subPath" in mount for mount in rotating["volumeMounts"])
    assert {entry["name"] for entry in rotating["env"]} == {"EDGE_ADDRESS"}
    values = template(settings=EDGE_TLS).one("ConfigMap", "-edge")["data"]["values.json"]
    assert json.loads(values)["tls_reload"] is True
    # checkov is told to pass over the new container's.
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(found["opensips"])


@pytest.mark.parametrize("setting", ["release=4.0", "tls_reload=false"])
def test_opensips_4_and_who_does_not_want_it_read_a_certificate_at_the_start(setting: str) -> None:
    """4.0.1 aborts when it is told to."""
    settings = (*EDGE_TLS, f"edge.config.{setting}")

    assert "certificate" not in containers(*settings)
    values = template(settings=settings).one("ConfigMap", "-edge")["data"]["values.json"]
    assert json.loads(values)["tls_reload"] is False


def test_the_edges_key_is_on_no_disk() -> None:
    volumes = {v["name"]: v for v in pod_of(template(settings=EDGE_TLS), "edge")["volumes"]}

    assert volumes["run"]["emptyDir"]["medium"] == "Memory"
    assert volumes["tls"]["secret"]["secretName"] == "carriers"


def test_an_edge_without_tls_rotates_nothing() -> None:
    assert set(containers()) == {"render", "opensips"}


def test_carriers_are_shown_a_certificate_of_an_issuer_of_its_own() -> None:
    rendered = template("everything-values.yaml")
    asked = rendered.one("Certificate", "-edge")["spec"]
    services = rendered.one("Certificate", "-worker")["spec"]

    volumes = {v["name"]: v for v in pod_of(rendered, "edge")["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == asked["secretName"]
    assert asked["dnsNames"] == ["sip.example.net"]
    assert asked["issuerRef"] != services["issuerRef"]
    assert "edge.tls.issuerRef" in refusal("edge.tls.dnsNames={sip.example.net}")


def test_a_secret_of_your_own_takes_the_place_of_the_edges_certificate() -> None:
    rendered = template("everything-values.yaml", settings=EDGE_TLS)

    assert rendered.all("Certificate", "-edge") == []
