"""Requests in an order that clients keep to, or do not: a whole worker stays in step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from siprec_worker.protocol.sdp import parse_sdp

from tests.builders.sdp import audio_line, sdp
from tests.builders.siprec import ALICE, BOB, MULTIPART, Party, metadata, siprec_body
from tests.integration.interop.caller import Caller, shown
from tests.integration.interop.client import connected_peer
from tests.integration.interop.worker import RunningWorker, running_worker

OFFER = sdp()
BODY = siprec_body(OFFER, metadata())
PLAIN = ("Content-Type", "application/sdp")
PARTIAL = ("Content-Type", "application/rs-metadata+xml")


@asynccontextmanager
async def recorded(transport: str = "tcp") -> AsyncIterator[tuple[RunningWorker, Caller]]:
    """A call that is answered and acknowledged."""
    async with (
        running_worker() as worker,
        connected_peer(transport, worker.host, worker.port) as peer,
    ):
        caller = Caller(peer)
        assert (await caller.ask(body=BODY, headers=[MULTIPART])).status == 200
        yield worker, caller


async def kinds(worker: RunningWorker, caller: Caller) -> list[tuple[str, str, str]]:
    call = await shown(worker, caller)
    return [(leg["label"], leg["kind"], leg["aor"]) for leg in call["legs"]]


async def test_labels_that_change_places_take_their_parties_with_them() -> None:
    swapped = sdp(audio_line("0"), audio_line("1", port=40002))
    async with recorded() as (worker, caller):
        assert (await caller.ask(body=swapped, headers=[PLAIN])).status == 200
        assert await kinds(worker, caller) == [("0", "pbx", BOB.aor), ("1", "customer", ALICE.aor)]


async def test_a_transfer_gives_the_line_to_the_third_party() -> None:
    third = Party("sip:third@h", "0", "Third")
    document = metadata([ALICE, third]).replace(b"complete", b"partial")
    document = document.replace(b'participant_id="p1"', b'participant_id="p2"')
    left = (
        b"<participantsessionassoc participant_id='p1' session_id='s1'><disassociate-time>"
        b"2026-01-01T00:00:00Z</disassociate-time></participantsessionassoc></recording>"
    )
    document = document.replace(b"</recording>", left)
    async with recorded() as (worker, caller):
        assert (await caller.ask("UPDATE", document, [PARTIAL])).status == 200
        assert await kinds(worker, caller) == [
            ("1", "customer", ALICE.aor),
            ("0", "pbx", third.aor),
        ]


async def test_an_offer_in_an_update_is_answered_in_its_200() -> None:
    async with recorded() as (_, caller):
        answer = await caller.ask("UPDATE", OFFER, [PLAIN])
        assert [media.label for media in parse_sdp(answer.body).media] == ["1", "0"]


async def test_an_offer_that_cannot_be_taken_leaves_the_call_as_it_was() -> None:
    worse = sdp(audio_line("1", rtpmaps=["18 G729/8000"]), audio_line("0", rtpmaps=["4 G723/8000"]))
    async with recorded() as (worker, caller):
        before = await shown(worker, caller)
        assert (await caller.ask(body=worse, headers=[PLAIN])).status == 488
        assert (await caller.ask(body=b"v=1\r\n", headers=[PLAIN])).status == 400
        after = await shown(worker, caller)
        assert [leg["local_port"] for leg in after["legs"]] == [
            leg["local_port"] for leg in before["legs"]
        ]
        assert (await caller.ask(body=OFFER, headers=[PLAIN])).status == 200


@pytest.mark.parametrize("method", ["NOTIFY", "MESSAGE", "REFER", "PRACK", "SUBSCRIBE"])
async def test_what_is_not_understood_within_a_call_does_not_end_it(method: str) -> None:
    async with recorded() as (worker, caller):
        assert (await caller.ask(method)).status == 405
        assert (await caller.ask("INFO", b"Signal=5", [("Content-Type", "x/y")])).status == 200
        assert (await caller.ask("OPTIONS")).status == 200
        assert await worker.live_calls() == [caller.call_id]
        assert (await caller.ask("BYE", headers=[("Reason", "Q.850;cause=16")])).status == 200
        assert (await caller.ask("OPTIONS")).status == 481
        assert await worker.live_calls() == []


async def test_a_client_may_come_back_over_another_connection() -> None:
    async with (
        recorded() as (worker, caller),
        connected_peer("tcp", worker.host, worker.port) as other,
    ):
        caller.peer.close()
        caller.peer = other
        assert (await caller.ask(body=BODY, headers=[MULTIPART])).status == 200
        assert (await caller.ask("BYE")).status == 200


async def test_two_forks_of_one_call_are_two_recordings() -> None:
    async with recorded() as (worker, caller):
        second = Caller(caller.peer, "second@test")
        assert (await second.ask(body=BODY, headers=[MULTIPART])).status == 200
        assert sorted(await worker.live_calls()) == sorted([caller.call_id, second.call_id])
