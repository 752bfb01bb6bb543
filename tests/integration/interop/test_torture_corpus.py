"""RFC 4475's torture messages against the endpoint, over UDP."""

from __future__ import annotations

import pytest
from siprec_worker.net.sip_endpoint import open_sip_endpoint
from siprec_worker.protocol.sip.settings import UasSettings

from tests.integration.interop.client import connected_peer
from tests.integration.interop.corpus import Case, addressed, cases
from tests.integration.interop.recorder import Recorder
from tests.integration.interop.walk import assert_alive, assert_expected

CASES = cases("torture")


@pytest.mark.skipif(not CASES, reason="the interop corpus is not here: set VOICEFORK_SHARED")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_the_torture_message_gets_the_right_answer_and_harms_nothing(case: Case) -> None:
    (step,) = case.steps
    settings = UasSettings(host="127.0.0.1", port=0)
    async with (
        open_sip_endpoint("127.0.0.1", 0, settings, Recorder()) as endpoint,
        connected_peer(case.transport, endpoint.host, endpoint.port) as peer,
    ):
        peer.send(addressed(case.bytes_of(step), case.transport, *peer.address))
        if step["expect"]["no_response"]:
            await assert_alive(peer, case.transport)  # and the first answer was to that
            assert peer.inbox.empty()
            return
        response = await peer.final_response(step["method"], None)
        assert_expected(step, response)
        await assert_alive(peer, case.transport)
