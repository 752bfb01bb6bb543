"""Messages of real session recording clients against the endpoint, over UDP and TCP."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from siprec_worker.net.sip_endpoint import open_sip_endpoint
from siprec_worker.protocol.sdp import Media, parse_sdp
from siprec_worker.protocol.sip.message import Response
from siprec_worker.protocol.sip.settings import UasSettings

from tests.integration.interop import normalised
from tests.integration.interop.client import Peer, connected_peer
from tests.integration.interop.corpus import (
    Case,
    addressed,
    cases,
    cseq_of,
    with_cseq,
    with_length,
)
from tests.integration.interop.recorder import Recorder, Recording

CASES = cases("sip")


@pytest.mark.skipif(not CASES, reason="the interop corpus is not here: set VOICEFORK_SHARED")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_the_recording_client_is_served_as_it_expects(case: Case) -> None:
    recorder = Recorder()
    settings = UasSettings(host="127.0.0.1", port=0)
    async with (
        open_sip_endpoint("127.0.0.1", 0, settings, recorder) as endpoint,
        connected_peer(case.transport, endpoint.host, endpoint.port) as peer,
    ):
        await Walk(case, peer, recorder).run()
        await assert_alive(peer, case.transport)


class Walk:
    """Sends a case's messages one after another and checks what each one brings."""

    def __init__(self, case: Case, peer: Peer, recorder: Recorder) -> None:
        self._case = case
        self._peer = peer
        self._recorder = recorder
        self._srs_tag = ""
        self._cseq = 0
        self._answers: list[Response] = []

    async def run(self) -> None:
        for step in self._case.steps:
            raw = self._prepared(step)
            await self._send(raw)
            response = await self._peer.final_response(step["method"], cseq_of(raw))
            self._answers.append(response)
            if step["method"] == "INVITE":
                self._acknowledge(raw, response)
            if response.status == 200 and not self._srs_tag:
                self._srs_tag = response.to_tag
            assert_expected(step, response)
            self._assert_extracted(step)
            if "udp_duplicate" in self._case.expected:
                await self._assert_one_dialog(raw, response)

    def _prepared(self, step: dict[str, Any]) -> bytes:
        raw = self._case.bytes_of(step)
        raw = raw.replace(b"SRS-TAG", self._srs_tag.encode())
        raw = addressed(raw, self._case.transport, *self._peer.address)
        written = cseq_of(raw) or 0
        if step["in_dialog"] and not self._case.expected.get("keep_cseq"):
            raw = with_cseq(raw, max(written, self._cseq + 1))
        self._cseq = cseq_of(raw) or 0
        return with_length(raw)

    async def _send(self, raw: bytes) -> None:
        cuts = self._case.expected.get("tcp_split", []) if self._case.transport == "tcp" else []
        edges = [0, *(cut for cut in cuts if cut < len(raw)), len(raw)]
        for start, end in pairwise(edges):
            self._peer.send(raw[start:end])
            await asyncio.sleep(0)  # the endpoint reads the piece by itself
        for _ in range(self._case.expected.get("udp_duplicate", 1) - 1):
            self._peer.send(raw)

    def _acknowledge(self, raw: bytes, response: Response) -> None:
        invite_branch = response.top_via.param("branch") or ""
        branch = invite_branch if response.status >= 300 else f"{invite_branch}-ack"
        host, port = self._peer.address
        lines = [
            "ACK sip:srs@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/{self._case.transport.upper()} {host}:{port};branch={branch}",
            "Max-Forwards: 70",
            f"From: {response.headers.get('from')}",
            f"To: {response.headers.get('to')}",
            f"Call-ID: {response.headers.get('call-id')}",
            f"CSeq: {cseq_of(raw)} ACK",
            "Content-Length: 0",
        ]
        self._peer.send("\r\n".join([*lines, "", ""]).encode())

    def _assert_extracted(self, step: dict[str, Any]) -> None:
        extract = step.get("extract", {})
        if not self._recorder.recordings:
            return  # refused before a session saw it
        recording = self._recorder.last
        if (
            recording.offer is not None
            and "sdp_media" in extract
            and self._answers[-1].status == 200
        ):
            expected = normalised.expected_media_lines(extract["sdp_media"])
            assert normalised.media_lines(recording.offer) == expected
        if "metadata" in extract:
            assert_metadata(extract, recording)

    async def _assert_one_dialog(self, raw: bytes, first: Response) -> None:
        self._peer.send(raw)  # one more, after the answer
        again = await self._peer.final_response("INVITE", first.cseq.number)
        assert (again.to_tag, again.body) == (first.to_tag, first.body)
        assert len(self._recorder.recordings) == 1


def assert_expected(step: dict[str, Any], response: Response) -> None:
    expect = step["expect"]
    assert response.status in [*expect["status"], *expect["tolerated"]]
    if response.status not in expect["status"]:
        return
    for name, text in expect.get("headers", {}).items():
        assert text in (response.headers.get(name) or "-absent-")
    if expect.get("offer_in_200"):
        assert [m.own_direction and m.own_direction.value for m in parse_sdp(response.body).media]
    if response.status == 200 and "answer" in expect:
        lines = parse_sdp(response.body).media
        assert len(lines) == len(expect["answer"])
        for line, wanted in zip(lines, expect["answer"], strict=True):
            assert_answer_line(line, wanted)


def assert_answer_line(line: Media, wanted: dict[str, Any]) -> None:
    assert (line.label, line.kind, line.protocol) == (
        wanted["label"], wanted["media"], wanted["proto"],
    )  # fmt: skip
    if wanted["port"] != "any":
        assert bool(line.port) is (wanted["port"] == "nonzero")
    if not line.port:
        return
    direction = line.own_direction
    assert direction is not None
    assert direction.value in wanted["direction"]
    assert {int(pt) for pt in line.formats} <= set(wanted["codecs_from"])
    names = {payload.name.upper() for payload in line.payloads.values()}
    assert not wanted["need_audio_codec"] or names - {"TELEPHONE-EVENT", "CN"}


def assert_metadata(extract: dict[str, Any], recording: Recording) -> None:
    if extract["metadata"] is None:
        assert recording.unreadable
        return
    assert recording.document is not None
    assert recording.metadata is not None
    expected = normalised.expected_metadata(extract["metadata"])
    assert normalised.metadata(recording.document) == expected
    merged = normalised.metadata(recording.metadata)["participants"]
    if "merged_after" in extract:  # in any order
        sent = {p["id"]: {"send": set(p["send"]), "recv": set(p["recv"])} for p in merged}
        assert sent == {
            id_: {kind: set(labels) for kind, labels in kinds.items()}
            for id_, kinds in extract["merged_after"].items()
        }
    if "merged_participants_after" in extract:
        assert len(merged) == extract["merged_participants_after"]
    if "left" in extract:
        assert [p["id"] for p in merged if "disassociate_time" in p] == extract["left"]


async def assert_alive(peer: Peer, transport: str) -> None:
    host, port = peer.address
    peer.send(
        f"OPTIONS sip:127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport.upper()} {host}:{port};branch=z9hG4bKalive\r\n"
        "From: <sip:probe@127.0.0.1>;tag=alive\r\nTo: <sip:127.0.0.1>\r\n"
        "Call-ID: alive\r\nCSeq: 77 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert (await peer.final_response("OPTIONS", 77)).status == 200
