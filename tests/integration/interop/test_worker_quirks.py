"""What real recording clients do that no RFC asks for: the worker records all the same."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from siprec_worker.config import HostPort
from siprec_worker.protocol.sdp import parse_sdp
from siprec_worker.protocol.sip.message import Request

from tests.builders.sdp import audio_line, sdp
from tests.builders.siprec import ALICE, BOB, MULTIPART, Party, metadata, siprec_body
from tests.integration.interop.caller import Caller, shown
from tests.integration.interop.client import connected_peer
from tests.integration.interop.worker import RunningWorker, running_worker

CAROL = Party("sip:carol@h", "2", "Carol")
OFFER = sdp()
BODY = siprec_body(OFFER, metadata())


@asynccontextmanager
async def calling(transport: str = "tcp") -> AsyncIterator[tuple[RunningWorker, Caller]]:
    async with (
        running_worker() as worker,
        connected_peer(transport, worker.host, worker.port) as peer,
    ):
        yield worker, Caller(peer)


def kinds(call: dict[str, Any]) -> list[tuple[str, str]]:
    return [(leg["label"], leg["kind"]) for leg in call["legs"]]


def folded(body: bytes) -> bytes:
    return body.replace(b"Content-Type: application/sdp", b"Content-Type:\r\n  application/sdp")


def unclosed(body: bytes) -> bytes:
    return body.rpartition(b"\r\n--")[0]


def metadata_first(_: bytes) -> bytes:
    boundary = MULTIPART[1].partition("=")[2].encode()
    parts = (b"application/rs-metadata", metadata()), (b"application/sdp", OFFER)
    lines = [b"preamble"]
    for kind, content in parts:
        lines += [b"--" + boundary, b"Content-Type: " + kind, b"", content]
    return b"\r\n".join([*lines, b"--" + boundary + b"--", b"epilogue"])


def with_base64(body: bytes) -> bytes:
    coded = base64.encodebytes(metadata())
    plain = b"Content-Disposition: recording-session\r\n\r\n" + metadata()
    marked = b"Content-Disposition: recording-session\r\nContent-Transfer-Encoding: Base64\r\n\r\n"
    assert plain in body
    return body.replace(plain, marked + coded)


def counted(body: bytes) -> bytes:
    return body.replace(b"Content-Disposition", b"Content-Length: 17\r\nContent-Disposition")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    "form",
    [bytes, folded, unclosed, metadata_first, with_base64, counted],
    ids=lambda f: f.__name__,
)
async def test_a_body_of_any_form_is_read(form: Any, transport: str) -> None:
    async with calling(transport) as (worker, caller):
        answer = await caller.ask(body=form(BODY), headers=[MULTIPART])
        assert answer.status == 200
        call = await shown(worker, caller)
    assert kinds(call) == [("1", "customer"), ("0", "pbx")]
    assert call["metadata"]["stream_owner"] == {"1": [ALICE.aor], "0": [BOB.aor]}


async def test_a_message_of_bare_line_feeds_is_read() -> None:
    async with calling("udp") as (worker, caller):
        caller.line_end = b"\n"
        body = BODY.replace(b"\r\n", b"\n")
        assert (await caller.ask(body=body, headers=[MULTIPART])).status == 200
        assert len((await shown(worker, caller))["legs"]) == 2


@pytest.mark.parametrize(
    "description",
    [
        OFFER.replace(b"c=IN IP4 127.0.0.3\r\n", b""),
        OFFER.replace(b"t=0 0\r\n", b""),
        OFFER.replace(b"c=IN IP4 127.0.0.3", b"c=IN IP4 media.example.net"),
        re.sub(rb"a=rtpmap:0 .*\r\n", b"", OFFER),
        OFFER.replace(b"\r\n", b"\n"),
        OFFER.rstrip(b"\r\n"),
        OFFER.replace(b"o=- 7 1 IN IP4 127.0.0.3\r\n", b"").replace(b"c=IN IP4 127.0.0.3\r\n", b""),
    ],
    ids=["no c=", "no t=", "host name", "no rtpmap", "LF", "no end", "neither o= nor c="],
)
async def test_a_description_that_lacks_something_is_recorded(description: bytes) -> None:
    async with calling() as (worker, caller):
        answer = await caller.ask(body=siprec_body(description, metadata()), headers=[MULTIPART])
        assert [media.port > 0 for media in parse_sdp(answer.body).media] == [True, True]
        remote = [leg["remote"] for leg in (await shown(worker, caller))["legs"]]
    assert {host for host, _ in remote} <= {"127.0.0.3", "127.0.0.1"}


@pytest.mark.parametrize("ptime", [10, 20, 30, 40, 60])
async def test_any_usual_packet_time_is_taken(ptime: int) -> None:
    lines = [audio_line(label, port=port, extra=[f"a=ptime:{ptime}"]) for label, port in
             (("1", 40000), ("0", 40002))]  # fmt: skip
    async with calling() as (_, caller):
        answer = await caller.ask(body=sdp(*lines), headers=[("Content-Type", "application/sdp")])
    assert [media.ptime_ms for media in parse_sdp(answer.body).media] == [ptime, ptime]


@pytest.mark.parametrize("label", ["0", "4294967296", "18446744073709551616", "Ärger mit=Worten"])
async def test_any_label_is_echoed_and_matched(label: str) -> None:
    parties = [Party(ALICE.aor, label), Party(BOB.aor, "zwei")]
    offer = sdp(audio_line(label), audio_line("zwei", port=40002))
    async with calling() as (worker, caller):
        answer = await caller.ask(body=siprec_body(offer, metadata(parties)), headers=[MULTIPART])
        assert [media.label for media in parse_sdp(answer.body).media] == [label, "zwei"]
        assert kinds(await shown(worker, caller)) == [(label, "customer"), ("zwei", "pbx")]


async def test_labels_that_match_nothing_fall_back_to_the_order_with_a_warning() -> None:
    offer = sdp(audio_line("a"), audio_line("b", port=40002))
    async with calling() as (worker, caller):
        await caller.ask(body=siprec_body(offer, metadata()), headers=[MULTIPART])
        call = await shown(worker, caller)
    assert kinds(call) == [("a", "customer"), ("b", "pbx")]
    assert any("no label" in warning for warning in call["warnings"])


async def test_crossed_associations_are_believed() -> None:
    crossed = [Party(ALICE.aor, "0", "Alice"), Party(BOB.aor, "1")]
    async with calling() as (worker, caller):
        await caller.ask(body=siprec_body(OFFER, metadata(crossed)), headers=[MULTIPART])
        assert kinds(await shown(worker, caller)) == [("1", "pbx"), ("0", "customer")]


async def test_one_mixed_line_is_recorded_as_nobodys() -> None:
    document = metadata([ALICE, Party(BOB.aor, "1")])
    async with calling() as (worker, caller):
        await caller.ask(body=siprec_body(sdp(audio_line("1")), document), headers=[MULTIPART])
        call = await shown(worker, caller)
    assert kinds(call) == [("1", "unknown")]
    assert call["metadata"]["stream_owner"] == {"1": [ALICE.aor, BOB.aor]}


async def test_three_lines_are_recorded() -> None:
    offer = sdp(audio_line("1"), audio_line("0", port=40002), audio_line("2", port=40004))
    async with calling() as (worker, caller):
        document = metadata([ALICE, BOB, CAROL])
        await caller.ask(body=siprec_body(offer, document), headers=[MULTIPART])
        call = await shown(worker, caller)
    assert kinds(call) == [("1", "customer"), ("0", "pbx"), ("2", "pbx")]


async def test_a_second_line_that_comes_later_is_recorded_and_named() -> None:
    async with calling() as (worker, caller):
        first = siprec_body(sdp(audio_line("1")), metadata([ALICE]))
        await caller.ask(body=first, headers=[MULTIPART])
        assert kinds(await shown(worker, caller)) == [("1", "customer")]
        await caller.ask(body=BODY, headers=[MULTIPART])
        assert kinds(await shown(worker, caller)) == [("1", "customer"), ("0", "pbx")]


async def test_a_line_that_goes_is_given_up_and_its_place_is_kept() -> None:
    gone = sdp(audio_line("1"), audio_line("0", port=0))
    async with calling() as (worker, caller):
        await caller.ask(body=BODY, headers=[MULTIPART])
        answer = await caller.ask(body=gone, headers=[("Content-Type", "application/sdp")])
        assert [media.port > 0 for media in parse_sdp(answer.body).media] == [True, False]
        assert kinds(await shown(worker, caller)) == [("1", "customer")]


async def test_lines_may_all_be_given_up_and_come_back() -> None:
    plain = [("Content-Type", "application/sdp")]
    closed = sdp(audio_line("1", port=0), audio_line("0", port=0))
    async with calling() as (worker, caller):
        await caller.ask(body=BODY, headers=[MULTIPART])
        answer = await caller.ask(body=closed, headers=plain)
        assert [media.port for media in parse_sdp(answer.body).media] == [0, 0]
        assert (await shown(worker, caller))["legs"] == []
        answer = await caller.ask(body=OFFER, headers=plain)
        assert [media.port > 0 for media in parse_sdp(answer.body).media] == [True, True]
        assert kinds(await shown(worker, caller)) == [("1", "customer"), ("0", "pbx")]


async def test_the_answer_to_our_offer_may_stand_in_a_multipart() -> None:
    async with calling() as (worker, caller):
        document = siprec_body(b"", metadata()).replace(b"application/sdp", b"text/plain")
        answer = await caller.ask(body=document, headers=[MULTIPART], ack=(BODY, MULTIPART[1]))
        assert [media.label for media in parse_sdp(answer.body).media] == ["1", "2"]
        call = await until(worker, caller, lambda call: len(call["legs"]) == 2)
    assert call["state"] == "recording"


async def test_the_answer_to_an_offerless_reinvite_moves_the_source() -> None:
    moved = sdp(audio_line("1", port=41000), audio_line("0", port=41002))
    async with calling() as (worker, caller):
        await caller.ask(body=BODY, headers=[MULTIPART])
        await caller.ask(ack=(moved, "application/sdp"))
        await until(
            worker,
            caller,
            lambda call: [leg["remote"][1] for leg in call["legs"]] == [41000, 41002],
        )


@pytest.mark.parametrize(
    "held",
    [
        sdp(host="0.0.0.0"),
        OFFER.replace(b"a=sendonly", b"a=inactive"),
        OFFER.replace(b"a=sendonly", b"a=recvonly"),
    ],
    ids=["0.0.0.0", "inactive", "recvonly"],
)
async def test_hold_and_resume_keep_the_ports(held: bytes) -> None:
    plain = [("Content-Type", "application/sdp")]
    async with calling() as (worker, caller):
        first = await caller.ask(body=BODY, headers=[MULTIPART])
        second = await caller.ask(body=held, headers=plain)
        assert all(leg["on_hold"] for leg in (await shown(worker, caller))["legs"])
        third = await caller.ask(body=OFFER, headers=plain)
        assert not any(leg["on_hold"] for leg in (await shown(worker, caller))["legs"])
    ports = [[media.port for media in parse_sdp(a.body).media] for a in (first, second, third)]
    assert ports[0] == ports[1] == ports[2]


async def test_partial_metadata_of_an_update_are_merged() -> None:
    partial = metadata([Party(ALICE.aor, "1", "Alice Renamed")])
    partial = partial.replace(b"complete", b"partial")
    async with calling() as (worker, caller):
        await caller.ask(body=BODY, headers=[MULTIPART])
        kind = [("Content-Type", "application/rs-metadata+xml")]
        answer = await caller.ask("UPDATE", partial, kind)
        assert (answer.status, answer.body) == (200, b"")
        call = await shown(worker, caller)
    assert [leg["name"] for leg in call["legs"]] == ["Alice Renamed", ""]
    assert len(call["metadata"]["participants"]) == 2


async def test_a_party_that_leaves_stays_in_the_metadata_with_its_time() -> None:
    left = (
        b"<recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>partial</datamode>"
        b"<participantsessionassoc participant_id='p1' session_id='s1'>"
        b"<disassociate-time>2026-01-01T00:00:00Z</disassociate-time></participantsessionassoc>"
        b"</recording>"
    )
    async with calling() as (worker, caller):
        await caller.ask(body=BODY, headers=[MULTIPART])
        await caller.ask("UPDATE", left, [("Content-Type", "application/rs-metadata+xml")])
        parties = (await shown(worker, caller))["metadata"]["participants"]
    assert [party.get("disassociate_time") for party in parties] == [None, "2026-01-01T00:00:00Z"]


@pytest.mark.parametrize(
    ("document", "recovered"),
    [
        (metadata().replace(b"</participant>", b"</partcipant>", 1), True),
        (metadata()[:-40], True),
        (b"<html><body>503</body></html>", False),
        (b"\xff\xfe\x00not xml", False),
        (b"", False),
    ],
    ids=["mismatched tag", "cut off", "html", "binary", "empty"],
)
async def test_unreadable_metadata_cost_no_recording(document: bytes, recovered: bool) -> None:
    async with calling() as (worker, caller):
        answer = await caller.ask(body=siprec_body(OFFER, document), headers=[MULTIPART])
        assert answer.status == 200
        call = await shown(worker, caller)
        assert "voicefork_worker_metadata_errors_total 1.0" in await worker.metrics()
    assert call["metadata"] is None
    assert (call["metadata_recovered"] is not None) is recovered
    assert any("unreadable" in warning for warning in call["warnings"])
    assert len(call["legs"]) == 2


async def until(worker: RunningWorker, caller: Caller, wanted: Any) -> dict[str, Any]:
    """Asks until the worker shows it: an ACK has no answer to wait for."""
    for _ in range(2000):
        call = await shown(worker, caller)
        if wanted(call):
            return call
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {call}")


async def test_a_snapshot_that_is_asked_for_replaces_what_was_known() -> None:
    async with calling() as (worker, caller):
        await caller.ask(body=siprec_body(OFFER, b"lost"), headers=[MULTIPART])
        await until(worker, caller, lambda call: call["state"] == "recording")
        call_id = (await shown(worker, caller))["call_id"]
        url = f"http://{worker.admin}/calls/{call_id}/metadata-request"
        async with worker.session.post(url) as response:
            assert response.status == 202
        asked = await caller.peer.receive()
        assert isinstance(asked, Request)
        assert (asked.method, asked.content_type) == ("UPDATE", "application/rs-metadata-request")
        caller.peer.send(asked.reply(200).encode())
        await caller.ask("UPDATE", metadata(), [("Content-Type", "application/rs-metadata+xml")])
        call = await shown(worker, caller)
    assert call["metadata"]["stream_owner"] == {"1": [ALICE.aor], "0": [BOB.aor]}
    assert [leg["aor"] for leg in call["legs"]] == [ALICE.aor, BOB.aor]


async def test_a_record_attribute_and_an_aware_client_change_nothing() -> None:
    aware = OFFER.replace(b"a=label:1", b"a=record:on\r\na=label:1")
    headers = [MULTIPART, ("Require", "siprec, record-aware"), ("Supported", "record-aware")]
    async with calling() as (_, caller):
        answer = await caller.ask(body=siprec_body(aware, metadata()), headers=headers)
    assert answer.status == 200
    assert b"a=record:" not in answer.body


async def test_the_way_back_is_recorded_and_every_via_returned() -> None:
    routes = ["<sip:127.0.0.1:5999;lr>", "<sip:192.0.2.9;transport=tcp;lr>"]
    more = [("Via", "SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK2, SIP/2.0/TCP 192.0.2.8;branch=z9hG4bK3")]
    async with calling() as (_, caller):
        headers = [MULTIPART, ("Record-Route", ", ".join(routes)), *more]
        answer = await caller.ask(body=BODY, headers=headers)
    assert answer.headers.values("record-route") == routes
    assert len(answer.headers.values("via")) == 3


# --- IPv6 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_call_over_ipv6_is_recorded_from_end_to_end(transport: str) -> None:
    if not has_ipv6():
        pytest.skip("no ::1 here")
    async with (
        running_worker(sip=HostPort("[::1]:0")) as worker,
        connected_peer(transport, "::1", worker.port) as peer,
    ):
        caller = Caller(peer)
        source = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with source:
            source.bind(("::1", 0))
            offer = sdp(audio_line("1", port=source.getsockname()[1])).replace(
                b"IN IP4 127.0.0.3", b"IN IP6 ::1"
            )
            answer = await caller.ask(
                body=siprec_body(offer, metadata([ALICE])), headers=[MULTIPART]
            )
            assert (answer.headers.get("contact") or "").startswith(f"<sip:srs@[::1]:{worker.port}")
            described = parse_sdp(answer.body)
            assert b"c=IN IP6 ::1\r\n" in answer.body
            source.sendto(packet(seq=1), ("::1", described.media[0].port))

            def heard(call: dict[str, Any]) -> bool:
                return bool(call["legs"][0]["counters"].get("packets"))

            await until(worker, caller, heard)
        assert (await caller.ask("BYE")).status == 200


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def packet(seq: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, seq, 160 * seq, 7) + b"\xff" * 160
