"""The whole corpus against a whole worker: what it answers, and what its admin pages show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.interop.client import connected_peer
from tests.integration.interop.corpus import Case, addressed, cases, cases_in
from tests.integration.interop.pages import Pages
from tests.integration.interop.walk import Walk, assert_alive, assert_expected
from tests.integration.interop.worker import running_worker

CASES = cases("sip")
TORTURE = cases("torture")
OWN = cases_in(Path(__file__).parents[2] / "data" / "siprec")
ABSENT = "the interop corpus is not here: set VOICEFORK_SHARED"


@pytest.mark.parametrize("case", [*CASES, *OWN], ids=[case.id for case in [*CASES, *OWN]])
async def test_the_worker_records_the_client_as_it_expects(case: Case) -> None:
    async with (
        running_worker() as worker,
        connected_peer(case.transport, worker.host, worker.port) as peer,
    ):
        await Walk(case, peer, Pages(worker)).run()
        await assert_alive(peer, case.transport)


@pytest.mark.skipif(not TORTURE, reason=ABSENT)
@pytest.mark.parametrize("case", TORTURE, ids=[case.id for case in TORTURE])
async def test_the_worker_survives_the_torture_message(case: Case) -> None:
    (step,) = case.steps
    async with (
        running_worker() as worker,
        connected_peer(case.transport, worker.host, worker.port) as peer,
    ):
        peer.send(addressed(case.bytes_of(step), case.transport, *peer.address))
        if not step["expect"]["no_response"]:
            assert_expected(step, await peer.final_response(step["method"], None))
        await assert_alive(peer, case.transport)
