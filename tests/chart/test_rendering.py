"""Everything that is shipped renders, the same in both Helms, and is valid Kubernetes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import CHART, HELMS, NOISE, ROOT, VALUES, by_name, helm, template

OLDEST, NEWEST = "1.27", "1.37"
# Of the Prometheus operator, KEDA and cert-manager: no schema of theirs is here.
FOREIGN = {"PodMonitor", "PrometheusRule", "ScaledObject", "Certificate"}


@pytest.mark.parametrize("version", HELMS)
@pytest.mark.parametrize("values", VALUES)
def test_lint_has_nothing_to_say(version: str, values: str) -> None:
    done = helm(version, "lint", "--strict", str(CHART), "--values", str(CHART / "ci" / values))

    said = [line for line in (done.stdout + done.stderr).splitlines() if NOISE not in line]
    assert done.returncode == 0, "\n".join(said)


@pytest.mark.parametrize("values", VALUES)
def test_both_helms_render_the_same(values: str) -> None:
    first, second = (template(values, version=version) for version in HELMS)

    assert by_name(first.manifests) == by_name(second.manifests)


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", VALUES)
def test_every_manifest_is_valid(values: str, kubernetes: str, tmp_path: Path) -> None:
    manifests = [m for m in template(values).manifests if m["kind"] not in FOREIGN]
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(yaml.safe_dump_all(manifests))
    program = Path(sys.executable).with_name("kubernetes-validate")
    if not program.exists():
        pytest.skip("kubernetes-validate is not installed: make chart")

    done = subprocess.run(
        [program, "--strict", "-k", kubernetes, rendered],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_and_the_readme_follow_from_the_values() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "chart_docs.py", "--check"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
