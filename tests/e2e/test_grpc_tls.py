"""A whole installation with mTLS: a call, and another one after the certificates were replaced."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.first_call import CallPlan
from voicefork_cli.doctor.places import Places
from voicefork_cli.grpc_channel import Tls
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.stack import Stack, StackPlan, open_stack

from tests.builders.certificates import Authority, Signed
from tests.chart.conftest import ROOT

RECEPTIONIST = ROOT / "sdk" / "examples" / "receptionist.py"
WORKER, ORCHESTRATOR = "voicefork-worker", "voicefork-orchestrator"


def options(own: Signed, trusted: Path) -> tuple[str, ...]:
    return (
        *("--grpc-cert", str(own.certificate), "--grpc-key", str(own.key)),
        *("--grpc-ca", str(trusted), "--grpc-worker-name", WORKER),
        *("--grpc-orchestrator-name", ORCHESTRATOR),
    )


def places(stack: Stack, tls: Tls) -> Places:
    (worker,), asterisk = stack.workers, stack.asterisk
    return Places(
        worker=worker.addresses["sip"],
        worker_admin=int(worker.addresses["admin"].rpartition(":")[2]),
        worker_control=int(worker.addresses["control"].rpartition(":")[2]),
        orchestrator=stack.orchestrator.addresses["grpc"],
        orchestrator_admin=stack.orchestrator.addresses["admin"],
        redis=stack.redis.url,
        ari=asterisk.http_url,
        ari_user=asterisk.ari_user,
        ari_password=asterisk.ari_password,
        tls=tls,
        worker_name=WORKER,
    )


async def test_calls_are_made_before_and_after_authority_and_certificates_are_replaced(
    lab: Lab, tmp_path: Path
) -> None:
    authority, successor = Authority(tmp_path), Authority(tmp_path, "successor")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    worker = authority.sign(WORKER, names=f"DNS:{WORKER}")
    orchestrator = authority.sign(ORCHESTRATOR, names=f"DNS:{ORCHESTRATOR}")
    plan = StackPlan(
        RECEPTIONIST,
        orchestrator_options=options(orchestrator, trusted),
        worker_options=options(worker, trusted),
    )
    async with open_stack(lab, plan) as stack:
        text = io.StringIO()
        screen = Console(file=text, width=200)
        call = CallPlan(pbx=stack.asterisk.sip)
        client = authority.sign("client")
        tls = Tls(trusted, client.certificate, client.key, ORCHESTRATOR)
        assert await examine(places(stack, tls), call, screen) == 0, text.getvalue()
        assert text.getvalue().count("SERVING, by TLS") == 2

        # First both are trusted, then certificates of the new one come, then the old one goes.
        trusted.write_bytes(trusted.read_bytes() + successor.certificate.read_bytes())
        successor.sign(WORKER, into=worker, names=f"DNS:{WORKER}")
        successor.sign(ORCHESTRATOR, into=orchestrator, names=f"DNS:{ORCHESTRATOR}")
        successor.sign("client", into=client)
        trusted.write_bytes(successor.certificate.read_bytes())

        assert await examine(places(stack, tls), call, screen) == 0, text.getvalue()
        # Its stream of reports is the one from before.
        assert "orchestrator lost" not in stack.workers[0].program.log_text()
