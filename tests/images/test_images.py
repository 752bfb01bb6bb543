"""What is in the images, and what is not."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.images.conftest import BUILD_SECONDS, BUILT, Podman, image

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
# All layers, the base's too: podman's "Size". Here the base is a debootstrap of Debian 12 with
# Python, 128 MB, which is no smaller than the slim Python image that is the default.
MOST_MEGABYTES = {"worker": 250, "orchestrator": 250, "vendor": 300}


@pytest.mark.parametrize("name", BUILT)
def test_an_image_is_small(built: Podman, name: str) -> None:
    megabytes = built.inspect(image(name))["Size"] / 1e6

    assert megabytes <= MOST_MEGABYTES[name]


@pytest.mark.parametrize("name", BUILT)
def test_an_image_says_what_it_is_and_runs_as_nobody(built: Podman, name: str) -> None:
    config = built.inspect(image(name))["Config"]

    assert config["User"] == "10001:10001"
    assert {"title", "description", "licenses", "version", "revision"} <= {
        label.rpartition(".")[2] for label in config["Labels"]
    }


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("worker", {"voicefork-worker", "grpcio", "lxml", "numpy", "uvloop", "redis"}),
        ("orchestrator", {"voicefork-orchestrator", "grpcio", "aiohttp", "redis"}),
        ("vendor", {"voicefork-sdk", "grpcio", "pocketsphinx"}),
    ],
)
def test_an_image_lists_its_packages(built: Podman, name: str, packages: set[str]) -> None:
    bill = json.loads(built.run(image(name), "cat", "/opt/voicefork/sbom.json"))

    assert bill["bomFormat"] == "CycloneDX"
    assert packages <= {component["name"].lower() for component in bill["components"]}


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize(
    "tool", ["gcc", "cc", "ld", "make", "strip", "git", "/opt/voicefork/bin/pip"]
)
def test_no_build_tool_is_inside(built: Podman, name: str, tool: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        built.run(image(name), "sh", "-c", f"command -v {tool}")


def test_nothing_can_be_written_but_tmp(built: Podman) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        built.run(image("worker"), "touch", "/opt/voicefork/x")
    built.run(image("worker"), "touch", "/tmp/x")
