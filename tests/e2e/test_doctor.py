"""`voicefork doctor` at a whole installation: a call until the caller hears the AI."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console
from voicefork_cli.doctor.command import examine
from voicefork_cli.doctor.first_call import CallPlan
from voicefork_cli.doctor.places import Places
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.stack import StackPlan, open_stack

from tests.chart.conftest import ROOT

RECEPTIONIST = ROOT / "sdk" / "examples" / "receptionist.py"


async def test_all_is_well_and_the_caller_hears_the_ai(lab: Lab) -> None:
    async with open_stack(lab, StackPlan(RECEPTIONIST)) as stack:
        (worker,), asterisk = stack.workers, stack.asterisk
        places = Places(
            worker=worker.addresses["sip"],
            worker_admin=int(worker.addresses["admin"].rpartition(":")[2]),
            orchestrator=stack.orchestrator.addresses["grpc"],
            orchestrator_admin=stack.orchestrator.addresses["admin"],
            redis=stack.redis.url,
            ari=asterisk.http_url,
            ari_user=asterisk.ari_user,
            ari_password=asterisk.ari_password,
        )
        text = io.StringIO()
        screen = Console(file=text, width=200)

        assert await examine(places, CallPlan(pbx=asterisk.sip), screen) == 0, text.getvalue()
        assert "the caller hears the AI" in text.getvalue()

        assert await examine(replace(places, ari_password="wrong"), None, screen) == 1
        assert "'voicefork' is refused" in text.getvalue()
