"""The answering endpoint: what leaves when, and what the session is told."""

from __future__ import annotations

import pytest
from siprec_worker.protocol.sip.events import (
    Confirmed,
    HungUp,
    Invited,
    NotRecorded,
    Unconfirmed,
)
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.sdp import sdp
from tests.builders.sip import (
    ANSWER,
    TCP_FLOW,
    Bench,
    confirmed_call,
    in_dialog,
    invite,
    request,
    response_to,
    to_tag,
)
from tests.builders.siprec import MULTIPART, metadata, siprec_body


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- the answer --------------------------------------------------------------------------------


def test_the_200_leaves_no_earlier_than_20_ms_after_the_invite(bench: Bench) -> None:
    event = bench.invited(invite(body=sdp()))
    bench.now = 0.003
    bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.collect()
    assert bench.sent == []
    bench.run_until(1.0)
    assert bench.sent[0] == (0.02, bench.responses[0])
    assert bench.statuses[0] == 200


def test_a_late_accept_is_answered_at_once(bench: Bench) -> None:
    event = bench.invited(invite(body=sdp()))
    bench.now = 0.5
    bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.collect()
    assert bench.statuses == [200]


def test_the_200_has_contact_record_route_and_a_tag(bench: Bench) -> None:
    route = ("Record-Route", "<sip:127.0.0.50;lr>")
    bench.accepted(invite(body=sdp(), headers=[route]), ANSWER)
    answer = bench.responses[0]
    assert answer.headers.get("contact") == "<sip:srs@127.0.0.1:5090;transport=udp>;+sip.srs"
    assert answer.headers.all("record-route") == ["<sip:127.0.0.50;lr>"]
    assert answer.to_tag
    assert answer.body == ANSWER


def test_no_provisional_answer_ever_leaves(bench: Bench) -> None:
    bench.invited(invite(body=sdp()))
    bench.run_until(5.0)
    assert bench.sent == []


def test_an_invite_that_nobody_answers_is_refused(bench: Bench) -> None:
    bench.invited(invite(body=sdp()))
    bench.run_until(10.5)
    assert bench.statuses[0] == 480
    assert isinstance(bench.events[-1], HungUp)


def test_the_content_is_taken_apart(bench: Bench) -> None:
    body = siprec_body(sdp(), metadata())
    event = bench.invited(invite(body=body, headers=[MULTIPART]))
    assert (event.content.sdp, event.content.metadata) == (sdp(), metadata())


def test_a_retransmitted_invite_is_the_same_call(bench: Bench) -> None:
    for _ in range(3):
        bench.receive(invite(body=sdp()))
    assert len(bench.events) == 1
    assert bench.uas.dialog_count == 1


def test_a_retransmitted_invite_gets_the_same_200_again(bench: Bench) -> None:
    bench.accepted(invite(body=sdp()), ANSWER)
    bench.receive(invite(body=sdp()))
    first, second = bench.responses
    assert first == second


def test_a_merged_request_is_refused_with_482(bench: Bench) -> None:
    bench.invited(invite(body=sdp()))
    bench.receive(invite(body=sdp(), branch="z9hG4bKother"))
    assert bench.statuses == [482]


def test_reject_ends_the_dialog(bench: Bench) -> None:
    event = bench.invited(invite(body=sdp()))
    assert bench.uas.reject(event.dialog_id, 488, "", bench.now)
    bench.collect()
    assert bench.statuses == [488]
    assert bench.uas.dialog_count == 0
    assert not bench.uas.accept(event.dialog_id, ANSWER, bench.now)


def test_an_ack_confirms_and_carries_the_answer_to_our_offer(bench: Bench) -> None:
    event = bench.accepted(invite(), ANSWER)
    bench.ack(event, body=sdp())
    assert event.content.sdp is None
    assert bench.events[-1] == Confirmed(event.dialog_id, sdp())


def test_after_the_ack_nothing_is_sent_any_more(bench: Bench) -> None:
    confirmed_call(bench)
    bench.run_until(100.0)
    assert bench.sent == []
    assert bench.uas.next_timeout() is None


@pytest.mark.parametrize("flow", [None, TCP_FLOW], ids=["udp", "tcp"])
def test_the_200_is_sent_again_until_the_ack(flow: object) -> None:
    bench = Bench(UasSettings("127.0.0.1", 5090, confirm_after=1000.0))
    if flow is not None:
        bench.flow = TCP_FLOW
    bench.accepted(invite(body=sdp()), ANSWER)
    bench.run_until(31.0)
    times = [round(when - 0.02, 3) for when, m in bench.sent if hasattr(m, "status")]
    assert times == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5]


# --- no ACK: the rescue ------------------------------------------------------------------------


def unconfirmed_call(bench: Bench) -> Invited:
    event = bench.accepted(invite(body=sdp()), ANSWER)
    bench.run_until(0.53)
    return event


def test_without_ack_our_own_reinvite_leaves_after_half_a_second(bench: Bench) -> None:
    event = unconfirmed_call(bench)
    (asked,) = bench.requests
    assert bench.events[-1] == Unconfirmed(event.dialog_id)
    assert (asked.method, asked.uri, asked.body) == ("INVITE", "sip:127.0.0.1:5060", ANSWER)
    assert asked.from_tag == to_tag(event)
    assert asked.to_tag == "src-tag"
    assert asked.headers.get("require") is None


def test_a_200_to_the_reinvite_confirms_and_is_acked(bench: Bench) -> None:
    event = unconfirmed_call(bench)
    contact = [("Contact", "<<sip:127.0.0.1:5062>;+sip.src>")]
    bench.receive(response_to(bench.requests[0], 200, body=sdp(), headers=contact))
    assert bench.events[-1] == Confirmed(event.dialog_id, sdp())
    ack = bench.requests[-1]
    assert (ack.method, ack.uri, ack.cseq.number) == ("ACK", "sip:127.0.0.1:5062", 1)
    bench.sent.clear()
    bench.run_until(100.0)
    assert bench.sent == []


def test_a_retransmitted_200_to_our_reinvite_is_acked_again(bench: Bench) -> None:
    unconfirmed_call(bench)
    answer = response_to(bench.requests[0], 200, body=sdp())
    bench.receive(answer)
    bench.receive(answer)
    assert [m.method for m in bench.requests] == ["INVITE", "ACK", "ACK"]


def test_a_488_to_the_reinvite_means_not_recorded(bench: Bench) -> None:
    event = unconfirmed_call(bench)
    bench.receive(response_to(bench.requests[0], 488))
    assert bench.events[-1] == NotRecorded(event.dialog_id, "488 to the re-INVITE")
    assert [m.method for m in bench.requests] == ["INVITE", "ACK", "BYE"]
    assert bench.uas.dialog_count == 0


def test_no_answer_to_the_reinvite_means_not_recorded(bench: Bench) -> None:
    event = unconfirmed_call(bench)
    bench.run_until(9.0)
    assert bench.events[-1] == NotRecorded(event.dialog_id, "no answer to the re-INVITE")


def test_a_491_to_the_reinvite_is_tried_again(bench: Bench) -> None:
    unconfirmed_call(bench)
    bench.receive(response_to(bench.requests[0], 491))
    bench.run_until(2.0)
    assert [m.cseq.number for m in bench.requests if m.method == "INVITE"][:2] == [1, 2]


def test_an_ack_during_the_rescue_confirms_once_whatever_the_reinvite_gets(bench: Bench) -> None:
    event = unconfirmed_call(bench)
    asked = bench.requests[0]
    bench.ack(event)
    bench.receive(response_to(asked, 488))
    assert [e for e in bench.events if isinstance(e, Confirmed | NotRecorded)] == [
        Confirmed(event.dialog_id, b"")
    ]
    assert bench.uas.dialog_count == 1


# --- what is refused before a dialog -----------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "status", "header"),
    [
        (request("FROBNICATE"), 405, "allow"),
        (request("REGISTER"), 405, "allow"),
        (request("BYE", to_tag="x"), 481, "call-id"),
        (request("UPDATE", to_tag="x"), 481, "call-id"),
        (request("OPTIONS", uri="nobody:knows"), 416, "call-id"),
        (request("OPTIONS", uri="sip:a@b?Route=x"), 400, "call-id"),
        (request("OPTIONS", headers=[("Require", "siprec, x-unknown")]), 420, "unsupported"),
        (invite(body=b"x", headers=[("Content-Type", "text/plain")]), 415, "accept"),
        (invite(body=b"x", headers=[("Content-Encoding", "gzip")]), 415, "accept-encoding"),
        (invite(body=sdp(), headers=[("Accept", "text/plain")]), 406, "call-id"),
        (invite(body=b"x", headers=[MULTIPART]), 400, "call-id"),
        (invite(body=sdp(), headers=[("Record-Route", "<sip:a;lr")]), 400, "call-id"),
        (request("INVITE", body=sdp()), 400, "call-id"),
        (request("INVITE", body=b"neither SDP nor metadata"), 415, "accept"),
        (request("OPTIONS", to_tag="x"), 481, "call-id"),
        (request("OPTIONS").replace(b"2 OPTIONS", b"2 INVITE"), 400, "call-id"),
        (request("OPTIONS").replace(b"SIP/2.0\r", b"SIP/7.0\r", 1), 505, "call-id"),
        (request("OPTIONS", headers=[("X", "y" * 17_000)]), 413, "call-id"),
        (request("BYE", to_tag="x", call_id="ID@x").replace(b"ID@x", b"\xff@x"), 400, "call-id"),
        (request("BYE", to_tag="x", call_id="a b"), 400, "call-id"),
    ],
)  # fmt: skip
def test_the_request_is_refused(bench: Bench, message: bytes, status: int, header: str) -> None:
    bench.receive(message)
    assert bench.statuses == [status]
    assert bench.responses[0].headers.get(header)
    assert bench.events == []


def test_only_the_unknown_extension_is_named(bench: Bench) -> None:
    bench.receive(invite(body=sdp(), headers=[("Require", "SIPREC, x-unknown")]))
    assert bench.responses[0].headers.get("unsupported") == "x-unknown"


def test_options_are_answered_with_what_we_can_do(bench: Bench) -> None:
    bench.receive(request("OPTIONS"))
    (answer,) = bench.responses
    assert answer.status == 200
    assert all(answer.headers.get(name) for name in ("allow", "accept", "supported"))


@pytest.mark.parametrize("message", [request("OPTIONS"), invite(body=sdp())])
def test_an_unavailable_endpoint_says_503_at_once(bench: Bench, message: bytes) -> None:
    bench.uas.available = False
    bench.receive(message)
    assert bench.statuses == [503]
    assert bench.responses[0].headers.get("retry-after") == "5"
    assert bench.events == []


def test_an_unavailable_endpoint_goes_on_with_its_dialogs(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.uas.available = False
    bench.receive(in_dialog(event, "BYE", 3))
    assert bench.statuses == [200]


def test_a_full_endpoint_says_503() -> None:
    bench = Bench(UasSettings("127.0.0.1", 5090, max_dialogs=1))
    bench.invited(invite(body=sdp()))
    bench.receive(invite(body=sdp(), branch="z9hG4bK2", call_id="other"))
    assert bench.statuses == [503]


@pytest.mark.parametrize(
    "message",
    [b"", b"\r\n\r\n", b"nonsense", b"\xff" * 100, request("ACK"),
     b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1\r\n\r\n", b"SIP/2.0 4294967301 x\r\n\r\n"],
)  # fmt: skip
def test_what_cannot_be_answered_is_met_with_silence(bench: Bench, message: bytes) -> None:
    bench.receive(message)
    assert bench.sent == []
    assert bench.events == []


def test_a_response_goes_to_the_source_port_when_rport_asks_for_it(bench: Bench) -> None:
    via = "SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKr"
    bench.uas.receive(request(via=via), bench.flow, 0.0)
    (sent,) = bench.uas.messages_to_send()
    assert (sent.target.host, sent.target.port) == ("127.0.0.1", 5060)
    assert b"rport=5060" in sent.data
    assert b"received=127.0.0.1" in sent.data


def test_a_flood_of_requests_is_bounded() -> None:
    bench = Bench(UasSettings("127.0.0.1", 5090, max_transactions=10))
    for number in range(50):
        bench.receive(request(branch=f"z9hG4bK{number}"))
    assert len(bench.sent) == 10
