"""What the chart tells the services is what they understand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from orchestrator.config import load as load_orchestrator
from siprec_worker.config import load as load_worker
from siprec_worker.net.routes_file import read_routes

from tests.builders.certificates import Authority
from tests.chart.conftest import CHART, ROOT, VALUES, Manifest, Rendered, template

SECRETS = {"VOICEFORK_REDIS": "redis://:x@redis:6379/0", "VOICEFORK_ARI_PASSWORD": "x"}


def environ(rendered: Rendered, component: str) -> dict[str, str]:
    """The container's environment, as a kubelet would fill it in."""
    container = rendered.one("Deployment", component)["spec"]["template"]["spec"]["containers"][0]
    plain = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    filled = {
        name: value.replace("$(POD_IP)", "10.1.2.3").replace("$(HOST_IP)", "192.0.2.1")
        for name, value in plain.items()
    }
    return {**filled, **SECRETS}


def setenv(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("values", VALUES)
def test_the_worker_starts_with_its_settings(
    values: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = template(values)
    data = rendered.one("ConfigMap", "-worker")["data"]
    for name in ("worker.yaml", "routes.yaml"):
        (tmp_path / name).write_text(data[name])
    pod = rendered.one("Deployment", "-worker")["spec"]["template"]["spec"]
    arguments = [
        argument.replace("/etc/voicefork", str(tmp_path))
        for argument in pod["containers"][0]["args"]
    ]

    setenv(monkeypatch, environ(rendered, "-worker"))

    settings = load_worker(arguments, os.environ)

    read_routes(tmp_path / "routes.yaml")
    assert settings.advertise in {"10.1.2.3", "192.0.2.1"}
    assert settings.drain_seconds < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("values", VALUES)
def test_the_orchestrator_starts_with_its_settings(
    values: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = template(values)
    data = rendered.one("ConfigMap", "-orchestrator")["data"]
    settings_file, routes = tmp_path / "orchestrator.yaml", tmp_path / "routing.yaml"
    settings_file.write_text(data["orchestrator.yaml"])
    routes.write_text(data["routing.yaml"])

    setenv(monkeypatch, environ(rendered, "-orchestrator"))

    settings = load_orchestrator(["--config", str(settings_file)], os.environ)
    checked = subprocess.run(
        [sys.executable, "-m", "orchestrator.app.routes", "check", routes],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert settings.advertise == "10.1.2.3:7070"
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("values", VALUES)
def test_the_edge_renders_its_configuration(values: str, tmp_path: Path) -> None:
    """By the init container's own command, on the files of the ConfigMap."""
    rendered = template(values)
    if not rendered.all("ConfigMap", "-edge"):
        return
    mounted = tmp_path / "edge"
    (mounted / "routes").mkdir(parents=True)
    for name, text in rendered.one("ConfigMap", "-edge")["data"].items():
        path = (
            mounted / "routes" / name.removeprefix("routes.")
            if name.startswith("routes.")
            else mounted / name
        )
        path.write_text(text)
    pod = next(spec for name, spec in rendered.pods() if name.endswith("-edge"))
    init = pod["initContainers"][0]
    command = [
        part.replace("/etc/voicefork/edge", str(mounted))
        .replace("/run/opensips/etc", str(tmp_path / "etc"))
        .replace("$(EDGE_ADDRESS)", "192.0.2.1")
        for part in [*init["command"], *init["args"]]
    ]
    with_tls = "/etc/voicefork/tls" in mounts(init)
    if with_tls:
        put_certificate(mounted)

    environ = {
        entry["name"]: entry["value"]
        .replace("$(REDIS_PASSWORD)", "x")
        .replace("$(DB_PASSWORD)", "y")
        for entry in init["env"]
        if "value" in entry
    }
    done = subprocess.run(
        [sys.executable, *command[1:]],
        capture_output=True, text=True, timeout=60, check=False, env=environ,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    configuration = "".join(path.read_text() for path in (tmp_path / "etc").rglob("*.cfg"))
    assert "socket=udp:192.0.2.1:5060" in configuration
    assert "redis:pool://:x@" in configuration
    assert "PASSWORD" not in "".join(command)
    assert ("opensips:y@db" in configuration) == ("EDGE_DATABASE" in environ)
    assert (tmp_path / "etc/tables/tls_mgm").exists() is with_tls
    assert ("socket=tls:192.0.2.1:5061" in configuration) is with_tls


def mounts(container: Manifest) -> set[str]:
    return {mount["mountPath"] for mount in container["volumeMounts"]}


def put_certificate(edge: Path) -> None:
    """The Secret's files, and values.json with the place where they are."""
    authority = Authority(edge)
    certificate, key = authority.own
    certificate.rename(edge / "tls.crt")
    key.rename(edge / "tls.key")
    values = edge / "values.json"
    values.write_text(values.read_text().replace("/etc/voicefork/tls", str(edge)))


def test_the_configmap_holds_the_repositorys_files() -> None:
    data = template().one("ConfigMap", "-edge")["data"]

    for path in (ROOT / "opensips").glob("routes/*.cfg"):
        assert data[f"routes.{path.name}"].rstrip() == path.read_text().rstrip()
    programs = [*(ROOT / "opensips").glob("*.py"), *(ROOT / "opensips").glob("*.sh")]
    for name in ("opensips.cfg.tmpl", "pool.lua", *(path.name for path in programs)):
        assert data[name].rstrip() == (ROOT / "opensips" / name).read_text().rstrip()
    assert json.loads(data["values.json"])["trunks"][0]["name"] == "carrier"
    assert set(yaml.safe_load((CHART / "Chart.yaml").read_text())) >= {"kubeVersion", "appVersion"}


@pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server here")
def test_redis_is_the_first_process_and_asks_for_its_password(tmp_path: Path) -> None:
    rendered = template("trial-values.yaml")
    (container,) = rendered.one("StatefulSet", "-redis")["spec"]["template"]["spec"]["containers"]
    *shell, script = container["command"]
    socket = tmp_path / "redis.sock"
    said = rendered.one("ConfigMap", "-redis")["data"]["redis.conf"].replace("/data", str(tmp_path))
    (tmp_path / "redis.conf").write_text(f"{said}port 0\nunixsocket {socket}\n")
    environ = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": "hush", "REDISCLI_AUTH": "hush"}

    with subprocess.Popen(
        [*shell, script.replace("/etc/voicefork", str(tmp_path))],
        env=environ, stdout=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        until = time.monotonic() + 20
        while not socket.exists() and time.monotonic() < until:
            time.sleep(0.05)
        asked = ["redis-cli", "-s", str(socket), "ping"]
        known = subprocess.run(asked, env=environ, capture_output=True, text=True, check=False)
        stranger = subprocess.run(
            asked, env={"PATH": environ["PATH"]}, capture_output=True, text=True, check=False
        )
        server.terminate()

    assert (known.stdout.strip(), stranger.stdout[:6]) == ("PONG", "NOAUTH")
    # SIGTERM reached it: what a pod's end is.
    assert server.returncode == 0


@pytest.mark.parametrize(("replicas", "slots"), [(2, 4), (3, 4), (4, 5), (7, 8)])
def test_a_rollout_has_a_slot_for_the_new_replica(replicas: int, slots: int) -> None:
    rendered = template(settings=(f"orchestrator.replicas={replicas}",))

    said = yaml.safe_load(rendered.one("ConfigMap", "-orchestrator")["data"]["orchestrator.yaml"])
    assert said["slots"] == slots
