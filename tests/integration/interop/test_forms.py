"""Bodies of many recording clients, written by hand: a worker records each as it is meant."""

from __future__ import annotations

import pytest
from siprec_worker.protocol.sdp import parse_sdp

from tests.integration.interop.caller import Caller, shown
from tests.integration.interop.client import connected_peer
from tests.integration.interop.forms.form import Form, ids
from tests.integration.interop.forms.metadata import METADATA
from tests.integration.interop.forms.offers import OFFERS
from tests.integration.interop.worker import running_worker

FORMS = (*METADATA, *OFFERS)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("form", FORMS, ids=ids)
async def test_a_form_is_answered_and_recorded_as_it_is_meant(form: Form, transport: str) -> None:
    async with (
        running_worker() as worker,
        connected_peer(transport, worker.host, worker.port) as peer,
    ):
        caller = Caller(peer)
        answer = await caller.ask(body=form.body, headers=form.headers)
        assert answer.status == form.status
        if form.status != 200:
            return
        media = parse_sdp(answer.body).media
        assert tuple(line.port > 0 for line in media) == form.taken
        call = await shown(worker, caller)
        assert (await caller.ask("BYE")).status == 200
    assert [(leg["label"], leg["kind"], leg["aor"]) for leg in call["legs"]] == list(form.legs)
    if form.warning:
        assert any(form.warning in warning for warning in call["warnings"])
    if form.codecs is not None:
        assert tuple(call["legs"][0]["codecs"]) == form.codecs
    if form.names is not None:
        assert tuple(leg["name"] for leg in call["legs"]) == form.names
    if form.sources is not None:
        assert tuple(leg["remote"][0] for leg in call["legs"]) == form.sources
    assert set(form.extensions) <= set((call["metadata"] or {"extensions": []})["extensions"])
