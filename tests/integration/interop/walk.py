"""A corpus case played against a recording server, whoever that is."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, Protocol

from siprec_worker.protocol.sdp import Media, parse_sdp
from siprec_worker.protocol.sip.message import Response
from siprec_worker.protocol.sip.uri import joined_host_port

from tests.integration.interop.client import Peer
from tests.integration.interop.corpus import (
    Case,
    addressed,
    cseq_of,
    with_cseq,
    with_length,
)


class Watcher(Protocol):
    """Knows what the recording server has made of the messages."""

    async def assert_extracted(self, extract: dict[str, Any], answer: Response) -> None: ...

    async def assert_one_recording(self, call_id: str) -> None: ...


class Walk:
    """Sends a case's messages one after another and checks what each one brings."""

    def __init__(self, case: Case, peer: Peer, watcher: Watcher) -> None:
        self._case = case
        self._peer = peer
        self._watcher = watcher
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
            await self._watcher.assert_extracted(step.get("extract", {}), response)
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
        at = joined_host_port(*self._peer.address)
        lines = [
            "ACK sip:srs@127.0.0.1 SIP/2.0",
            f"Via: SIP/2.0/{self._case.transport.upper()} {at};branch={branch}",
            "Max-Forwards: 70",
            f"From: {response.headers.get('from')}",
            f"To: {response.headers.get('to')}",
            f"Call-ID: {response.headers.get('call-id')}",
            f"CSeq: {cseq_of(raw)} ACK",
            "Content-Length: 0",
        ]
        self._peer.send("\r\n".join([*lines, "", ""]).encode())

    async def _assert_one_dialog(self, raw: bytes, first: Response) -> None:
        self._peer.send(raw)  # one more, after the answer
        again = await self._peer.final_response("INVITE", first.cseq.number)
        assert (again.to_tag, again.body) == (first.to_tag, first.body)
        await self._watcher.assert_one_recording(again.call_id)


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


async def assert_alive(peer: Peer, transport: str) -> None:
    at = joined_host_port(*peer.address)
    peer.send(
        f"OPTIONS sip:127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport.upper()} {at};branch=z9hG4bKalive\r\n"
        "From: <sip:probe@127.0.0.1>;tag=alive\r\nTo: <sip:127.0.0.1>\r\n"
        "Call-ID: alive\r\nCSeq: 77 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert (await peer.final_response("OPTIONS", 77)).status == 200
