"""The chart as both Helms render it, for every set of values that is shipped."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm"
TOOLS = Path(os.environ.get("VOICEFORK_CACHE", Path.home() / ".cache/voicefork")) / "chart"
HELMS = ("helm-3.17", "helm-4.3")
VALUES = tuple(sorted(path.name for path in CHART.glob("ci/*-values.yaml")))
NOISE = "symbolic link"

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """What would be installed, in Helm's order."""

    manifests: tuple[Manifest, ...]

    def one(self, kind: str, ending: str) -> Manifest:
        """The only `kind` whose name ends so; "" for any name."""
        found = self.all(kind, ending)
        assert len(found) == 1, f"{len(found)} of {kind} …{ending}"
        return found[0]

    def all(self, kind: str, ending: str = "") -> list[Manifest]:
        return [
            manifest
            for manifest in self.manifests
            if manifest["kind"] == kind and manifest["metadata"]["name"].endswith(ending)
        ]

    def pods(self) -> list[tuple[str, Manifest]]:
        """(name, pod spec) of everything that makes pods."""
        return [
            (manifest["metadata"]["name"], manifest["spec"]["template"]["spec"])
            for manifest in self.manifests
            if manifest["kind"] in {"Deployment", "DaemonSet", "StatefulSet"}
        ]


def helm(version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = TOOLS / version / "helm"
    if not program.exists():
        pytest.skip(f"{version} is not here: make chart gets it")
    # Neither a cluster nor the user's own settings have a say in it.
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environ
    )


@functools.cache
def template(
    values: str = "minimal-values.yaml",
    settings: Sequence[str] = (),
    version: str = HELMS[0],
) -> Rendered:
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = helm(
        version, "template", "x", str(CHART), "--namespace", "calls",
        "--values", str(CHART / "ci" / values), *arguments,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Rendered(parsed(done.stdout))


def parsed(text: str) -> tuple[Manifest, ...]:
    """By the C parser where there is one: it takes a tenth of the time."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple(doc for doc in yaml.load_all(text, loader) if doc)


def refusal(*settings: str, values: str = "minimal-values.yaml") -> str:
    """What Helm says to these values, which it must refuse."""
    arguments = [part for setting in settings for part in ("--set", setting)]
    path = str(CHART / "ci" / values)
    done = helm(HELMS[0], "template", "x", str(CHART), "--values", path, *arguments)
    assert done.returncode != 0, "Helm took it"
    return done.stderr


def by_name(manifests: tuple[Manifest, ...]) -> dict[tuple[str, str], Manifest]:
    """Without the passwords that are made up anew with every rendering."""
    return {(m["kind"], m["metadata"]["name"]): _lasting(m) for m in manifests}


def _lasting(manifest: Manifest) -> Manifest:
    if manifest["kind"] != "Secret":
        return manifest
    said = manifest["stringData"].items()
    return {
        **manifest,
        "stringData": {key: text if len(text) not in {24, 32} else "" for key, text in said},
    }
