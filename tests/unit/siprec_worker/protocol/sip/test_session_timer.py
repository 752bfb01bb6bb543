"""Session timers: who refreshes, when, and what becomes of a session that nobody refreshes."""

from __future__ import annotations

import pytest
from siprec_worker.protocol.multipart import recording_body
from siprec_worker.protocol.sip.events import HungUp, Invited
from siprec_worker.protocol.sip.message import Request

from tests.builders.sdp import sdp
from tests.builders.sip import ANSWER, SDP, Bench, in_dialog, invite, response_to

TIMER = [("Supported", "timer"), ("Session-Expires", "1800;refresher=uas")]


def begun(bench: Bench, headers: list[tuple[str, str]]) -> Invited:
    event = bench.accepted(invite(body=sdp(), headers=headers), ANSWER)
    bench.ack(event)
    return event


def refreshed(bench: Bench, status: int = 200) -> Request:
    """Runs to the next refresh and answers it."""
    before = len(bench.requests)
    while len(bench.requests) == before:
        due = bench.uas.next_timeout()
        assert due is not None
        bench.run_until(due)
    refresh = bench.requests[-1]
    bench.receive(response_to(refresh, status))
    return refresh


def test_the_peer_may_leave_the_refreshing_to_us() -> None:
    bench = Bench()
    begun(bench, TIMER)
    answer = bench.responses[-1]
    assert answer.headers.get("session-expires") == "1800;refresher=uas"
    assert "timer" not in answer.headers.values("require")
    refresh = refreshed(bench)
    assert bench.now == pytest.approx(900, abs=1)
    assert (refresh.method, refresh.body) == ("UPDATE", b"")
    assert refresh.headers.get("session-expires") == "1800;refresher=uac"
    refreshed(bench)
    assert bench.now == pytest.approx(1800, abs=2)
    assert bench.uas.dialog_count == 1


def test_a_peer_without_update_is_refreshed_by_a_reinvite() -> None:
    bench = Bench()
    begun(bench, [*TIMER, ("Allow", "INVITE, ACK, BYE, CANCEL")])
    refresh = refreshed(bench)
    assert (refresh.method, refresh.body) == ("INVITE", ANSWER)
    assert bench.requests[-1].method == "ACK"


def test_a_refresh_that_fails_is_tried_again_until_the_time_is_up() -> None:
    bench = Bench()
    begun(bench, TIMER)
    refreshed(bench, 500)
    assert bench.now == pytest.approx(900, abs=1)
    refreshed(bench, 500)
    assert bench.now == pytest.approx(905, abs=1)
    bench.run_until(1900)
    assert bench.requests[-1].method == "BYE"
    assert isinstance(bench.events[-1], HungUp)


def test_a_refresh_to_a_peer_that_knows_nothing_of_the_call_ends_it() -> None:
    bench = Bench()
    begun(bench, TIMER)
    refreshed(bench, 481)
    assert isinstance(bench.events[-1], HungUp)
    assert bench.uas.dialog_count == 0


@pytest.mark.parametrize("in_the_dialog", [False, True])
def test_too_brief_a_session_is_refused_with_what_would_do(in_the_dialog: bool) -> None:
    bench = Bench()
    brief = [("Supported", "timer"), ("Session-Expires", "60")]
    if in_the_dialog:
        bench.receive(in_dialog(begun(bench, []), "UPDATE", 5, headers=brief))
    else:
        bench.receive(invite(body=sdp(), headers=brief))
    assert bench.statuses[-1] == 422
    assert bench.responses[-1].headers.get("min-se") == "90"


def test_a_proxys_wish_for_a_timer_costs_no_recording() -> None:
    bench = Bench()
    begun(bench, [("Session-Expires", "60")])
    assert bench.statuses[-1] == 200
    assert bench.responses[-1].headers.get("session-expires") is None


# --- a snapshot of the metadata --------------------------------------------------------------


def test_a_snapshot_is_asked_for_by_update() -> None:
    bench = Bench()
    event = begun(bench, [])
    assert bench.uas.request_metadata(event.dialog_id, "lost them", bench.now)
    bench.collect()
    asked = bench.requests[-1]
    assert (asked.method, asked.content_type, asked.body) == (
        "UPDATE", "application/rs-metadata-request", b"lost them\r\n",
    )  # fmt: skip
    assert asked.headers.get("content-disposition") == "recording-session"
    assert not bench.uas.request_metadata(event.dialog_id, "again", bench.now)
    bench.receive(response_to(asked, 200))
    assert bench.uas.request_metadata(event.dialog_id, "again", bench.now)


def test_a_peer_without_update_is_asked_by_a_reinvite_with_our_last_offer() -> None:
    bench = Bench()
    event = begun(bench, [("Allow", "INVITE, ACK, BYE")])
    assert bench.uas.request_metadata(event.dialog_id, "lost\r\nthem", bench.now)
    bench.collect()
    asked = bench.requests[-1]
    content = recording_body(asked.content_type, asked.body)
    assert (asked.method, content.sdp) == ("INVITE", ANSWER)
    assert [(part.content_type, part.body) for part in content.others] == [
        ("application/rs-metadata-request", b"lost them\r\n")
    ]
    bench.receive(response_to(asked, 200, body=sdp(), headers=[SDP]))
    assert bench.requests[-1].method == "ACK"
    state = bench.uas.dialog_state(event.dialog_id)
    assert state is not None
    assert state.local_sdp.encode() == ANSWER


@pytest.mark.parametrize("status", [405, 501])
def test_a_peer_that_turns_out_not_to_know_update_is_refreshed_by_reinvite(status: int) -> None:
    bench = Bench()
    begun(bench, [("Session-Expires", "1800;refresher=uas")])
    bench.run_until(bench.now + 901)
    assert bench.requests[-1].method == "UPDATE"
    bench.receive(response_to(bench.requests[-1], status))
    bench.run_until(bench.now + 6)
    assert bench.requests[-1].method == "INVITE"


def test_a_refresh_that_is_too_brief_for_the_peer_is_sent_again_with_its_minimum() -> None:
    bench = Bench()
    begun(bench, [("Session-Expires", "200;refresher=uas")])
    bench.run_until(bench.now + 101)
    bench.receive(response_to(bench.requests[-1], 422, headers=[("Min-SE", "600")]))
    bench.run_until(bench.now + 6)
    assert bench.requests[-1].headers.get("session-expires") == "600;refresher=uac"


def test_the_answer_to_a_refresh_may_leave_the_next_one_to_the_peer() -> None:
    bench = Bench()
    begun(bench, [("Session-Expires", "200;refresher=uas")])
    bench.run_until(bench.now + 101)
    answer = [("Session-Expires", "300;refresher=uas")]
    bench.receive(response_to(bench.requests[-1], 200, headers=answer))
    asked = len(bench.requests)
    bench.run_until(bench.now + 299)
    assert len(bench.requests) == asked
    bench.run_until(bench.now + 2)
    assert bench.requests[-1].method == "BYE"


def test_the_timer_goes_on_where_the_peer_refreshes_and_we_ask() -> None:
    bench = Bench()
    event = begun(bench, [("Supported", "timer"), ("Session-Expires", "1800")])
    assert bench.uas.request_metadata(event.dialog_id, "", bench.now)
    bench.collect()
    assert bench.requests[-1].headers.get("session-expires") == "1800;refresher=uas"
