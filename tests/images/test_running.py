"""The services in their containers: ready, a call, and an end in order."""

from __future__ import annotations

import asyncio
import io
import signal

import pytest
from rich.console import Console
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.first_call import CallPlan
from voicefork_cli.doctor.places import Places
from voicefork_cli.lab.asterisk import open_asterisk
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import open_redis

from tests.images.conftest import (
    BUILD_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    Podman,
    image,
    open_vendor,
    open_worker,
    page,
)

pytestmark = pytest.mark.timeout(BUILD_SECONDS)


async def test_the_worker_takes_a_call_whose_ai_is_the_vendors_image(
    built: Podman, lab: Lab
) -> None:
    async with (
        open_vendor(built, lab) as agent,
        open_worker(built, lab, f"grpc://{agent}") as worker,
    ):
        places = Places(worker=worker.sip, worker_admin=int(worker.admin.rpartition(":")[2]))
        screen = Console(file=io.StringIO(), width=200)

        code = await examine(places, CallPlan(), screen)

        assert isinstance(screen.file, io.StringIO)
        said = screen.file.getvalue()
        assert code == 0, said
        assert "the AI has it" in said


async def test_a_worker_that_is_told_to_end_ends_well(built: Podman, lab: Lab) -> None:
    async with open_worker(built, lab, "discard:") as worker:
        worker.program.signal(signal.SIGTERM)

        async with asyncio.timeout(STOP_SECONDS):
            assert await worker.program.wait() == 0


async def test_the_orchestrator_is_ready_at_a_real_asterisk_and_ends_well(
    built: Podman, lab: Lab
) -> None:
    async with open_redis(lab) as redis, open_asterisk(lab) as asterisk:
        grpc, admin = (f"{HOST}:{lab.ports.single()}" for _ in range(2))
        arguments = [
            *(f"--grpc={grpc}", f"--admin={admin}", f"--redis={redis.url}"),
            *(f"--ari={asterisk.http_url}", f"--ari-user={asterisk.ari_user}"),
        ]
        password = f"--env=VOICEFORK_ARI_PASSWORD={asterisk.ari_password}"
        async with built.container(
            lab, "orchestrator", image("orchestrator"), arguments, [password]
        ) as program:
            await program.wait_until(lambda: page(admin, "/healthz"), START_SECONDS)
            await program.wait_until(lambda: page(admin, "/readyz"), START_SECONDS)
            program.signal(signal.SIGTERM)

            async with asyncio.timeout(STOP_SECONDS):
                assert await program.wait() == 0
