"""The whole corpus against a whole worker: what it answers, and what its admin pages show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from siprec_worker.app import open_worker
from siprec_worker.config import HostPort, Settings
from siprec_worker.protocol.sip.message import Response

from tests.integration.interop.client import connected_peer
from tests.integration.interop.corpus import Case, addressed, cases, cases_in
from tests.integration.interop.walk import Walk, assert_alive, assert_expected

CASES = cases("sip")
TORTURE = cases("torture")
OWN = cases_in(Path(__file__).parents[2] / "data" / "siprec")
ABSENT = "the interop corpus is not here: set VOICEFORK_SHARED"
ANY = HostPort("127.0.0.1:0")


@pytest.mark.parametrize("case", [*CASES, *OWN], ids=[case.id for case in [*CASES, *OWN]])
async def test_the_worker_records_the_client_as_it_expects(case: Case) -> None:
    async with (
        worker_and_pages() as (host, port, pages),
        connected_peer(case.transport, host, port) as peer,
    ):
        await Walk(case, peer, pages).run()
        await assert_alive(peer, case.transport)


@pytest.mark.skipif(not TORTURE, reason=ABSENT)
@pytest.mark.parametrize("case", TORTURE, ids=[case.id for case in TORTURE])
async def test_the_worker_survives_the_torture_message(case: Case) -> None:
    (step,) = case.steps
    async with (
        worker_and_pages() as (host, port, _),
        connected_peer(case.transport, host, port) as peer,
    ):
        peer.send(addressed(case.bytes_of(step), case.transport, *peer.address))
        if not step["expect"]["no_response"]:
            assert_expected(step, await peer.final_response(step["method"], None))
        await assert_alive(peer, case.transport)


class Pages:
    """The worker's admin pages: what they say of the case's call must be what was sent."""

    def __init__(self, session: aiohttp.ClientSession, admin: str) -> None:
        self._session = session
        self._admin = admin

    async def assert_extracted(self, extract: dict[str, Any], answer: Response) -> None:
        shown = await self._call(answer.call_id)
        if shown is None:
            assert answer.status >= 300 or answer.cseq.method != "INVITE"
            return
        if answer.status == 200 and "sdp_media" in extract:
            assert_offer(shown["offer"], extract["sdp_media"])
        if answer.status == 200 and "metadata" in extract:
            assert_metadata(shown, extract)
        if "legs" in extract:
            assert [{k: leg[k] for k in want} for leg, want in zip(
                shown["legs"], extract["legs"], strict=True
            )] == extract["legs"]  # fmt: skip

    async def assert_one_recording(self, call_id: str) -> None:
        async with self._session.get(f"http://{self._admin}/calls") as response:
            assert [c["sip_call_id"] for c in (await response.json())["live"]] == [call_id]

    async def _call(self, call_id: str) -> dict[str, Any] | None:
        url = f"http://{self._admin}/calls/by-call-id/{quote(call_id, safe='')}"
        async with self._session.get(url) as response:
            return await response.json() if response.status == 200 else None


@asynccontextmanager
async def worker_and_pages() -> AsyncIterator[tuple[str, int, Pages]]:
    settings = Settings(sip=ANY, admin=ANY, control=ANY)
    async with open_worker(settings) as (_, at), aiohttp.ClientSession() as session:
        host, _, port = at.sip.rpartition(":")
        yield host, int(port), Pages(session, at.admin)


def assert_offer(shown: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(shown) == len(expected)
    for line, wanted in zip(shown, expected, strict=True):
        for name in ("media", "port", "proto", "ip", "label", "ptime", "direction", "on_hold"):
            assert line[name] == wanted[name], name
        codecs = {codec["pt"]: codec for codec in line["codecs"]}
        for codec in wanted["codecs"]:
            if "name" in codec:
                seen = codecs[codec["pt"]]
                assert all(seen[k] == codec[k] for k in ("name", "rate", "fmtp") if k in codec)
        assert line["crypto_suites"] == [crypto["suite"] for crypto in wanted["crypto"]]


def assert_metadata(shown: dict[str, Any], extract: dict[str, Any]) -> None:
    expected, metadata = extract["metadata"], shown["metadata"]
    if expected is None:
        assert metadata is None
        assert any("metadata" in warning for warning in shown["warnings"])
        return
    assert metadata is not None
    if expected["datamode"] == "complete":
        for name, value in expected.items():
            assert without_notes(metadata[name]) == without_notes(value), name
        return
    merged = {party["id"]: party for party in metadata["participants"]}
    assert {party["id"] for party in expected["participants"]} <= set(merged)
    for party, sent in extract.get("merged_after", {}).items():
        for kind, labels in sent.items():
            assert set(merged[party][kind]) == set(labels)
    if "merged_participants_after" in extract:
        assert len(merged) == extract["merged_participants_after"]
    if "left" in extract:
        assert [p for p, party in merged.items() if "disassociate_time" in party] == extract["left"]


def without_notes(value: Any) -> Any:
    if isinstance(value, list):
        return [without_notes(entry) for entry in value]
    if isinstance(value, dict):
        return {name: entry for name, entry in value.items() if name != "note"}
    return value
