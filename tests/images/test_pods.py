"""The chart's trial as pods of `podman play kube`: a call from the simulator."""

from __future__ import annotations

import asyncio
import io
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import yaml
from rich.console import Console
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.first_call import CallPlan
from voicefork_cli.doctor.places import Places

from tests.chart.conftest import CHART, HELMS, Manifest, helm, parsed
from tests.images.conftest import BUILD_SECONDS, START_SECONDS, Podman, build, image, page
from tests.images.pods import as_podman_secret, passwords, playable

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
RELEASE = "playing"
# In this order, each at this place of the network.
PLACES = {"redis": 9, "asterisk": 10, "vendor": 13, "orchestrator": 12, "worker": 11}


@dataclass(frozen=True, slots=True)
class Played:
    addresses: Mapping[str, str]  # of each component's pod
    passwords: Mapping[str, str]  # of Redis and of ARI


def rendered() -> tuple[Manifest, ...]:
    redis, _, tag = image("redis").removeprefix("localhost/").rpartition(":")
    settings = (
        "global.imageRegistry=localhost",
        f"redis.image.repository={redis}",
        f"redis.image.tag={tag}",
    )
    chosen = [part for setting in settings for part in ("--set", setting)]
    values = str(CHART / "ci" / "trial-values.yaml")
    done = helm(HELMS[0], "template", RELEASE, str(CHART), "--values", values, *chosen)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


@contextmanager
def network(podman: Podman) -> Iterator[tuple[str, str]]:
    """A network of our own; its name, and the first three numbers of its addresses."""
    for _ in range(20):
        prefix = f"10.89.{random.randrange(20, 250)}"
        name = f"voicefork-{prefix.replace('.', '-')}"
        try:
            podman("network", "create", "--subnet", f"{prefix}.0/24", name)
        except subprocess.CalledProcessError:
            continue  # somebody has it
        try:
            yield name, prefix
        finally:
            podman("network", "rm", "--force", name)
        return
    pytest.skip("podman makes no network here")


@pytest.fixture(scope="module")
def played(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    manifests = rendered()
    build(podman, *PLACES)
    told = passwords(manifests)
    folder = tmp_path_factory.mktemp("pods")
    with ExitStack() as stack:
        name, prefix = stack.enter_context(network(podman))
        addresses = {component: f"{prefix}.{last}" for component, last in PLACES.items()}
        for secret, fields in told.items():
            file = folder / secret
            file.write_bytes(as_podman_secret(fields))
            podman("secret", "create", secret, str(file))
            stack.callback(podman, "secret", "rm", secret)
        for config in (m["metadata"]["name"] for m in manifests if m["kind"] == "ConfigMap"):
            # podman makes a volume of each that is mounted, and leaves it.
            stack.callback(podman, "volume", "rm", "--force", config)
        for component, address in addresses.items():
            file = folder / f"{component}.yaml"
            file.write_text(yaml.safe_dump_all(playable(manifests, component, addresses)))
            stack.callback(podman, "play", "kube", "--down", str(file))
            podman("play", "kube", "--network", name, "--ip", address, str(file))
        yield Played(
            addresses, {name.rpartition("-")[2]: f["password"] for name, f in told.items()}
        )


@pytest.fixture
async def ready(podman: Podman, played: Played) -> Played:
    at, vendor = played.addresses, f"{RELEASE}-voicefork-vendor-vendor"
    async with asyncio.timeout(START_SECONDS):
        while "ready agent=" not in podman("logs", vendor):  # noqa: ASYNC110
            await asyncio.sleep(0.5)  # it loads its speech recognition first
        for admin in (f"{at['worker']}:8090", f"{at['orchestrator']}:7071"):
            while await answered(admin) is None:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.2)
    return played


async def answered(admin: str) -> str | None:
    try:
        return await page(admin, "/readyz")
    except ConnectionError:
        return None


async def test_a_call_is_taken_by_the_pods_of_the_chart(ready: Played) -> None:
    at = ready.addresses
    places = Places(
        worker=f"{at['worker']}:5080",
        worker_control=7080,
        orchestrator=f"{at['orchestrator']}:7070",
        orchestrator_admin=f"{at['orchestrator']}:7071",
        redis=f"redis://:{ready.passwords['redis']}@{at['redis']}:6379/0",
        ari=f"http://{at['asterisk']}:8088",
        ari_password=ready.passwords["ari"],
    )
    text = io.StringIO()
    screen = Console(file=text, width=200)

    code = await examine(places, CallPlan(pbx=f"{at['asterisk']}:5060"), screen)

    assert code == 0, text.getvalue()
    assert "the AI has it" in text.getvalue()
