"""The images, built from this checkout and run as the chart runs them.

No root, no capability, a root that cannot be written. They share the machine's network and listen
on loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running

ROOT = Path(__file__).resolve().parents[2]
BASE = os.environ.get("BASE_IMAGE", "localhost/python-base:bookworm")
BUILT = ("worker", "orchestrator", "vendor")
BUILD_SECONDS, START_SECONDS, STOP_SECONDS = 900, 40.0, 15.0
HARDENED = (
    *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--user=10001:10001", "--tmpfs=/tmp", "--network=host"),
)
OK = 200


@dataclass(frozen=True, slots=True)
class Podman:
    """Runs containers; `environ` has the settings that work on this machine."""

    environ: Mapping[str, str]

    def __call__(self, *arguments: str, seconds: float = 60) -> str:
        """What it prints. Raises CalledProcessError."""
        done = subprocess.run(
            ["podman", *arguments], env=self.environ, capture_output=True, text=True,
            timeout=seconds, check=True,
        )  # fmt: skip
        return done.stdout

    def inspect(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("image", "inspect", image))[0]
        return found

    def run(self, image: str, *command: str) -> str:
        """The output of one command in the image. Raises CalledProcessError."""
        first, *rest = command
        return self("run", "--rm", *HARDENED, f"--entrypoint={first}", image, *rest)

    @asynccontextmanager
    async def container(
        self, lab: Lab, name: str, image: str, arguments: Sequence[str], options: Sequence[str] = ()
    ) -> AsyncIterator[Running]:
        """A container in the foreground: its end is podman's end, with the same exit code."""
        own = f"{lab.folder.name}-{name}"
        command = ["podman", "run", "--rm", f"--name={own}", *HARDENED, *options, image]
        try:
            async with lab.program(
                name, [*command, *arguments], env=self.environ, grace_seconds=STOP_SECONDS
            ) as program:
                yield program
        finally:
            await asyncio.to_thread(self, "rm", "--force", "--ignore", own)


def image(name: str) -> str:
    chart = (ROOT / "deploy/helm/Chart.yaml").read_text()
    version = chart.partition("appVersion:")[2].split()[0].strip('"')
    return f"localhost/voicefork/{name}:{version}"


@pytest.fixture(scope="session")
def podman() -> Podman:
    """Skips, with the reason, where podman is not there, runs nothing, or has no base image."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not here: apt-get install podman buildah runc")
    said = ""
    for settings in ({}, {"CONTAINERS_CONF": str(ROOT / "scripts/containers.conf")}):
        environ = {**os.environ, **settings}
        tried = subprocess.run(
            ["podman", "run", "--rm", *HARDENED, BASE, "true"],
            env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if tried.returncode == 0:
            return Podman(environ)
        said = tried.stderr.strip()
    pytest.skip(f"podman cannot run {BASE} (scripts/image-base.sh makes it): {said}")


@pytest.fixture(scope="session")
def built(podman: Podman) -> Podman:
    """The images of this checkout; what has not changed is not built again."""
    return build(podman, *BUILT)


def build(podman: Podman, *images: str) -> Podman:
    done = subprocess.run(
        [ROOT / "scripts/images.sh", *images],
        env={**podman.environ, "BASE_IMAGE": BASE}, capture_output=True, text=True,
        timeout=BUILD_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return podman


async def page(address: str, path: str) -> str | None:
    """What an admin page says; None until it is 200."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}{path}") as response,
        ):
            return await response.text() if response.status == OK else None
    except aiohttp.ClientError as error:
        raise ConnectionError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Service:
    sip: str
    admin: str
    program: Running


@asynccontextmanager
async def open_vendor(podman: Podman, lab: Lab) -> AsyncIterator[str]:
    """The demo vendor's image; gives its address."""
    address = f"{HOST}:{lab.ports.single()}"
    async with podman.container(lab, "vendor", image("vendor"), ["--listen", address]) as program:

        async def ready() -> bool | None:
            return "ready agent=" in program.log_text() or None

        await program.wait_until(ready, START_SECONDS)
        yield address


@asynccontextmanager
async def open_worker(podman: Podman, lab: Lab, agent: str) -> AsyncIterator[Service]:
    sip, admin = (f"{HOST}:{lab.ports.single()}" for _ in range(2))
    rtp = lab.ports.rtp_range(200)
    arguments = [
        *(f"--sip={sip}", f"--admin={admin}", f"--control={HOST}:0"),
        *(f"--rtp-ports={rtp.first}-{rtp.last}", f"--agent={agent}", "--drain-seconds=2"),
    ]
    async with podman.container(lab, "worker", image("worker"), arguments) as program:
        await program.wait_until(lambda: page(admin, "/readyz"), START_SECONDS)
        yield Service(sip, admin, program)
