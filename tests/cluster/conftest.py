"""A release of the chart on the Kubernetes of KUBECONFIG; without it these tests are skipped.

VOICEFORK_IMAGES names a registry that the cluster's nodes pull our images from, as in
registry.example/voicefork-tests; they are tagged with the chart's appVersion.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chart.conftest import CHART, TOOLS

HELM, KUBECTL = TOOLS / "helm-4.3" / "helm", TOOLS / "helm-4.3" / "kubectl"
ADMIN = 8090
SIP = 5080
PATIENCE = 180.0
_CALLS = re.compile(r"^voicefork_worker_calls (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Release:
    """The chart in a namespace of its own, with its trial Asterisk and vendor."""

    namespace: str
    images: str

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        command = [str(KUBECTL), "--namespace", self.namespace, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def upgrade(self, *settings: str) -> None:
        """Installs, or upgrades; returns when every pod is ready."""
        values = CHART / "ci" / "trial-values.yaml"
        given = [part for setting in settings for part in ("--set", setting)]
        command = [
            *(str(HELM), "upgrade", "--install", "voicefork", str(CHART), "--values", str(values)),
            *("--namespace", self.namespace, "--wait", "--timeout", "5m"),
            *("--set", "worker.replicas=2", "--set", f"global.imageRegistry={self.images}"),
            *("--set", "networkPolicy.edgeCidrs={0.0.0.0/0}"),  # callers are pods of their own
            *given,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=330, check=False)
        assert done.returncode == 0, done.stderr

    def workers(self) -> list[dict[str, Any]]:
        """Pods that are not ending."""
        selector = "app.kubernetes.io/component=worker"
        found = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def page(self, pod: str, port: int, path: str) -> str:
        """An operator's page, asked for in the pod itself; "" where nobody answers."""
        url = f"http://127.0.0.1:{port}/{path}"
        ask = f"from urllib.request import urlopen; print(urlopen({url!r}).read().decode())"
        return self.kubectl("exec", pod, "--", "python3", "-c", ask, check=False)

    def calls(self) -> int:
        """On all workers that are not ending."""
        pages = [self.page(pod["metadata"]["name"], ADMIN, "metrics") for pod in self.workers()]
        return sum(int(count) for page in pages for count in _CALLS.findall(page))

    def call(self, count: int) -> None:
        """So many simulated calls of ten minutes, spread evenly; returns when all are there."""
        before, workers = self.calls(), self.workers()
        for number, pod in enumerate(workers):
            address = pod["status"]["podIP"]
            self.kubectl(
                *("run", f"caller-{secrets.token_hex(3)}", "--restart=Never"),
                f"--image={self.images}/voicefork/cli:{_version()}",
                *("--", "sim", "load", "--worker", f"sip:{address}:{SIP};transport=tcp"),
                *("--calls", str(count // len(workers) + (number < count % len(workers)))),
                *("--rate", "5", "--seconds", "600", "--admin", f"{address}:{ADMIN}"),
            )
        self.until(lambda: self.calls() >= before + count)

    def demand(self) -> int:
        selector = "app.kubernetes.io/component=orchestrator"
        found = json.loads(self.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        page = self.page(found[0]["metadata"]["name"], 7071, "autoscale")
        return int(json.loads(page)["demand"]) if page else -1

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.kubectl("get", "pods,events", check=False)
            time.sleep(1.0)


def _version() -> str:
    chart = (CHART / "Chart.yaml").read_text()
    found = re.search(r'^appVersion: "?([^"\n]+)', chart, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="session")
def release() -> Iterator[Release]:
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: set KUBECONFIG")
    if not os.environ.get("VOICEFORK_IMAGES"):
        pytest.skip("no images: set VOICEFORK_IMAGES to a registry the cluster pulls from")
    if not HELM.exists():
        pytest.skip("no helm: make chart gets it")
    release = Release(f"voicefork-{secrets.token_hex(3)}", os.environ["VOICEFORK_IMAGES"])
    release.kubectl("create", "namespace", release.namespace)
    try:
        release.upgrade()
        yield release
    finally:
        release.kubectl("delete", "namespace", release.namespace, "--wait=false")


@pytest.fixture(autouse=True)
def hung_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """Callers end with their test."""
    yield
    if "release" in request.fixturenames and "release" in request.node.funcargs:
        release: Release = request.node.funcargs["release"]
        callers = release.kubectl("get", "pods", "-o", "name").split()
        names = [name for name in callers if "/caller-" in name]
        if names:
            release.kubectl("delete", "--grace-period=1", *names)
