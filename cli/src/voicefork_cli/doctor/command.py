"""voicefork doctor: the command."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from voicefork_cli.doctor.asterisk import look_at_asterisk
from voicefork_cli.doctor.finding import Finding
from voicefork_cli.doctor.first_call import DEFAULT_DID, CallPlan, place_call
from voicefork_cli.doctor.orchestrators import look_at_orchestrator
from voicefork_cli.doctor.places import Places
from voicefork_cli.doctor.pool import look_at_redis
from voicefork_cli.doctor.workers import look_at_workers
from voicefork_cli.grpc_channel import CertFile, KeyFile, Tls

WIDTH = 42
NOTHING = '; "" leaves it out.'


def doctor(  # noqa: PLR0913, PLR0917 - each is an option
    worker: Annotated[
        str, typer.Option(help=f"HOST:PORT of the workers' SIP{NOTHING}")
    ] = "127.0.0.1:5080",
    worker_admin: Annotated[int, typer.Option(help="Port of their admin pages.")] = 8090,
    worker_control: Annotated[
        int, typer.Option(help="Port of their gRPC; 0 leaves it out.", min=0, max=65535)
    ] = 0,
    orchestrator: Annotated[
        str, typer.Option(help=f"HOST:PORT of its gRPC{NOTHING}")
    ] = "127.0.0.1:7070",
    orchestrator_admin: Annotated[
        str, typer.Option(help=f"HOST:PORT of its admin pages{NOTHING}")
    ] = "127.0.0.1:7071",
    redis: Annotated[
        str, typer.Option(envvar="VOICEFORK_REDIS", show_default=False, help=f"Its URL{NOTHING}")
    ] = "redis://127.0.0.1:6379/0",
    ari: Annotated[
        str, typer.Option(envvar="VOICEFORK_ARI", help=f"Asterisk's HTTP address{NOTHING}")
    ] = "http://127.0.0.1:8088",
    ari_user: Annotated[str, typer.Option(envvar="VOICEFORK_ARI_USER")] = "voicefork",
    ari_password: Annotated[
        str, typer.Option(envvar="VOICEFORK_ARI_PASSWORD", show_default=False, hidden=True)
    ] = "",
    tls_ca: Annotated[Path | None, typer.Option(help="CA of the services' gRPC (PEM).")] = None,
    tls_cert: CertFile = None,
    tls_key: KeyFile = None,
    tls_name: Annotated[
        str, typer.Option(help="Name in the orchestrator's certificate, if not the address.")
    ] = "",
    tls_worker_name: Annotated[
        str, typer.Option(help="Name in the workers' certificates, if not the address.")
    ] = "",
    call: Annotated[bool, typer.Option("--call", help="Place one simulated call too.")] = False,
    pbx: Annotated[
        str, typer.Option(help="HOST:PORT of Asterisk's SIP: the call is there too, as the edge's.")
    ] = "",
    tenant: Annotated[str, typer.Option(help="Tenant of that call.")] = "",
    did: Annotated[str, typer.Option(help="The number it is for.")] = DEFAULT_DID,
) -> None:
    """Looks at an installation: what is well, what is not, and what to do. Exit code 1: not all is.

    ARI's password is read from VOICEFORK_ARI_PASSWORD.
    """
    places = Places(
        worker=worker,
        worker_admin=worker_admin,
        worker_control=worker_control,
        orchestrator=orchestrator,
        orchestrator_admin=orchestrator_admin,
        redis=redis,
        ari=ari,
        ari_user=ari_user,
        ari_password=ari_password,
        tls=Tls(tls_ca, tls_cert, tls_key, tls_name),
        worker_name=tls_worker_name,
    )
    plan = CallPlan(tenant, did, pbx) if call else None
    raise typer.Exit(asyncio.run(examine(places, plan, Console())))


async def examine(places: Places, plan: CallPlan | None, screen: Console) -> int:
    """Looks at everything, shows it, gives the exit code."""
    looks = (look_at_workers, look_at_orchestrator, look_at_redis, look_at_asterisk)
    groups = await asyncio.gather(*(look(places) for look in looks))
    findings = [finding for group in groups for finding in group]
    if plan is not None:
        findings += await place_call(places, plan)
    for finding in findings:
        show(finding, screen)
    bad = sum(finding.bad for finding in findings)
    total = f"{len(findings)} looked at, {bad} wrong" if bad else f"All {len(findings)} are well."
    screen.print(total, style="red" if bad else "green", markup=False, highlight=False)
    return 1 if bad else 0


def show(finding: Finding, screen: Console) -> None:
    mark, style = ("BAD", "red") if finding.bad else ("ok ", "green")
    line = f"{mark} {finding.what:{WIDTH}} {finding.said}"
    screen.print(
        line, style=style if finding.bad else "", markup=False, highlight=False, soft_wrap=True
    )
    if finding.bad:
        screen.print(f"    -> {finding.advice}", markup=False, highlight=False, soft_wrap=True)
