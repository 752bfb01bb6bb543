"""An established dialog: what the peer asks in it, what we ask, and who takes it over."""

from __future__ import annotations

import pytest
from siprec_worker.protocol.sip.events import (
    Cancelled,
    HungUp,
    Informed,
    Invited,
    ReinviteAnswered,
)
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.sdp import sdp
from tests.builders.sip import (
    ANSWER,
    Bench,
    confirmed_call,
    in_dialog,
    invite,
    request,
    response_to,
    to_tag,
)
from tests.builders.siprec import metadata


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- CANCEL, BYE, and more within the dialog ---------------------------------------------------


def test_cancel_takes_the_invite_back(bench: Bench) -> None:
    event = bench.invited(invite(body=sdp()))
    bench.receive(request("CANCEL"))
    assert sorted(bench.statuses) == [200, 487]
    assert bench.events[-1] == Cancelled(event.dialog_id, reinvite=False)
    assert bench.uas.dialog_count == 0


def test_cancel_beats_a_held_answer(bench: Bench) -> None:
    event = bench.invited(invite(body=sdp()))
    bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.receive(request("CANCEL"))
    bench.run_until(0.1)
    assert sorted(bench.statuses) == [200, 487]


def test_cancel_after_the_answer_changes_nothing(bench: Bench) -> None:
    bench.accepted(invite(body=sdp()), ANSWER)
    bench.receive(request("CANCEL"))
    assert bench.statuses == [200, 200]
    assert bench.uas.dialog_count == 1


def test_a_cancelled_reinvite_keeps_the_call(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    bench.receive(request("CANCEL", branch="z9hG4bKINVITE3", cseq=3, to_tag=to_tag(event)))
    assert bench.events[-1] == Cancelled(event.dialog_id, reinvite=True)
    assert bench.uas.dialog_count == 1


def test_cancel_of_nothing_gets_481(bench: Bench) -> None:
    bench.receive(request("CANCEL"))
    assert bench.statuses == [481]


def test_bye_ends_the_dialog(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "BYE", 3))
    assert bench.statuses == [200]
    assert bench.events == [HungUp(event.dialog_id, True, "BYE")]
    assert bench.uas.dialog_count == 0


def test_a_reason_that_is_no_utf_8_is_told_as_far_as_it_can_be_read(bench: Bench) -> None:
    event = confirmed_call(bench)
    bye = in_dialog(event, "BYE", 3, headers=[("Reason", 'Q.850;text="BUESY"')])
    bench.receive(bye.replace(b"BUESY", b"beendet f\xfcr heute"))
    assert bench.events == [HungUp(event.dialog_id, True, 'Q.850;text="beendet f?r heute"')]


def test_bye_answers_an_open_reinvite_with_487(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    bench.receive(in_dialog(event, "BYE", 4))
    assert bench.statuses == [200, 487]


def test_our_bye_is_sent_again_over_udp_until_answered(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.uas.bye(event.dialog_id, bench.now)
    bench.collect()
    bench.run_until(bench.now + 1.6)
    assert [m.method for m in bench.requests] == ["BYE", "BYE", "BYE"]
    bench.receive(response_to(bench.requests[0], 405))
    bench.sent.clear()
    bench.run_until(bench.now + 40.0)
    assert bench.sent == []


def test_a_reinvite_is_an_event_and_is_answered_at_once(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    again = bench.events[-1]
    assert isinstance(again, Invited)
    assert again.reinvite
    assert again.dialog_id == event.dialog_id
    bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.collect()
    assert bench.statuses == [200]


def test_an_update_with_metadata_is_answered_by_accept_without_a_body(bench: Bench) -> None:
    event = confirmed_call(bench)
    kind = ("Content-Type", "application/rs-metadata+xml")
    bench.receive(in_dialog(event, "UPDATE", 3, body=metadata(), headers=[kind]))
    told = bench.events[-1]
    assert isinstance(told, Invited)
    assert told.content.metadata == metadata()
    bench.uas.accept(event.dialog_id, b"", bench.now)
    bench.collect()
    assert (bench.responses[0].status, bench.responses[0].content_type) == (200, "")


def test_an_empty_update_is_a_refresh_and_asks_nobody(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "UPDATE", 3))
    assert bench.statuses == [200]
    assert bench.events == []


def test_a_lower_cseq_gets_500(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INVITE", 1, body=sdp()))
    assert bench.statuses == [500]


def test_a_second_invite_while_one_is_open_gets_500(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    bench.receive(in_dialog(event, "INVITE", 4, body=sdp()))
    assert bench.statuses == [500]
    assert bench.responses[0].headers.get("retry-after") is not None


def test_a_reinvite_before_the_ack_gets_491(bench: Bench) -> None:
    event = bench.accepted(invite(body=sdp()), ANSWER)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    assert bench.statuses == [200, 491]


def test_info_is_answered_and_told(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INFO", 3))
    assert bench.statuses == [200]
    assert isinstance(bench.events[-1], Informed)


def test_a_reinvite_without_ack_ends_with_bye(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.run_until(bench.now + 33.0)
    assert bench.requests[0].method == "BYE"
    assert bench.events[-1] == HungUp(event.dialog_id, False, "no ACK to a 200")


# --- our own re-INVITE, and adoption -----------------------------------------------------------


def test_our_reinvite_keeps_the_route_set(bench: Bench) -> None:
    routes = [("Record-Route", "<sip:127.0.0.51;lr>, <sip:127.0.0.52;lr>")]
    event = bench.accepted(invite(body=sdp(), headers=routes), ANSWER)
    bench.ack(event)
    bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    (sent,) = bench.uas.messages_to_send()
    assert (sent.target.host, sent.target.port) == ("127.0.0.51", 5060)
    assert b"Route: <sip:127.0.0.51;lr>\r\nRoute: <sip:127.0.0.52;lr>\r\n" in sent.data


def test_the_answer_to_our_reinvite_is_told(bench: Bench) -> None:
    event = confirmed_call(bench)
    assert bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    assert not bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    bench.collect()
    bench.receive(response_to(bench.requests[0], 200, body=sdp()))
    assert bench.events == [ReinviteAnswered(event.dialog_id, 200, sdp())]


def test_no_answer_to_our_reinvite_is_told_as_408_and_keeps_the_dialog(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    bench.run_until(bench.now + 33.0)
    assert bench.events == [ReinviteAnswered(event.dialog_id, 408)]
    assert bench.uas.dialog_count == 1


def test_a_481_to_our_reinvite_ends_the_dialog(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    bench.collect()
    bench.receive(response_to(bench.requests[0], 481))
    assert isinstance(bench.events[-1], HungUp)


def test_another_worker_adopts_the_dialog_with_a_higher_cseq(bench: Bench) -> None:
    event = confirmed_call(bench)
    state = bench.uas.dialog_state(event.dialog_id)
    assert state is not None
    other = Bench(UasSettings("127.0.0.9", 5094))
    adopted = other.uas.adopt(state, 0.0)
    assert other.uas.reinvite(adopted, ANSWER, 0.0)
    other.collect()
    (asked,) = other.requests
    assert adopted == event.dialog_id
    assert asked.cseq.number > 100
    assert asked.headers.get("contact") == "<sip:srs@127.0.0.9:5094;transport=udp>;+sip.srs"
    other.receive(response_to(asked, 200, body=sdp()))
    assert other.events == [ReinviteAnswered(adopted, 200, sdp())]


def test_a_late_answer_to_our_reinvite_is_acknowledged_though_the_dialog_is_anothers(
    bench: Bench,
) -> None:
    event = confirmed_call(bench)
    bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    bench.collect()
    (asked,) = bench.requests
    bench.uas.hand_over(event.dialog_id, bench.now)
    for _ in range(2):  # the second is a repetition
        bench.receive(response_to(asked, 200, body=sdp()))
    sent = [(one.method, one.cseq.number) for one in bench.requests[1:]]
    assert sent == [("ACK", asked.cseq.number)] * 2
    assert bench.events == []


def test_a_late_answer_is_not_taken_for_that_to_the_reinvite_of_the_next_adoption(
    bench: Bench,
) -> None:
    event = confirmed_call(bench)
    state = bench.uas.dialog_state(event.dialog_id)
    assert state is not None
    other = Bench()
    other.uas.reinvite(other.uas.adopt(state, 0.0), ANSWER, 0.0)
    other.uas.hand_over(event.dialog_id, 0.0)  # it was not answered in time
    bench.uas.outrun(event.dialog_id, 0.0)
    again = bench.uas.dialog_state(event.dialog_id)
    assert again is not None
    other.uas.reinvite(other.uas.adopt(again, 0.0), ANSWER, 0.0)
    other.collect()
    first, second = other.requests
    other.receive(response_to(first, 200, body=sdp()))
    assert other.events == []
    other.receive(response_to(second, 200, body=sdp()))
    assert other.events == [ReinviteAnswered(state.id, 200, sdp())]
    acknowledged = [one.cseq.number for one in other.requests[2:]]
    assert acknowledged == [first.cseq.number, second.cseq.number]


def test_a_dialog_handed_over_refuses_offers_and_tells_of_the_bye(bench: Bench) -> None:
    event = confirmed_call(bench)
    assert bench.uas.hand_over(event.dialog_id, bench.now)
    assert bench.uas.dialog_count == 0
    assert not bench.uas.reinvite(event.dialog_id, ANSWER, bench.now)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    bench.receive(in_dialog(event, "BYE", 4))
    assert bench.statuses == [488, 200]
    assert bench.requests == []
    assert bench.events == [HungUp(event.dialog_id, True, "BYE")]


def test_a_dialog_handed_over_is_forgotten_in_the_end_without_a_word(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.uas.hand_over(event.dialog_id, bench.now)
    bench.run_until(bench.now + 5 * 3600)
    assert (bench.sent, bench.events) == ([], [])
    assert bench.uas.dialog_state(event.dialog_id) is None


# --- session timer -----------------------------------------------------------------------------


def timed_invite(seconds: int) -> bytes:
    timer = [("Supported", "timer"), ("Session-Expires", str(seconds))]
    return invite(body=sdp(), headers=timer)


def test_a_session_timer_is_left_to_the_peer(bench: Bench) -> None:
    bench.accepted(timed_invite(1800), ANSWER)
    answer = bench.responses[0]
    assert answer.headers.get("session-expires") == "1800;refresher=uac"
    assert answer.headers.get("require") == "timer"


def test_a_session_that_is_not_refreshed_is_ended(bench: Bench) -> None:
    event = bench.accepted(timed_invite(100), ANSWER)
    bench.ack(event)
    bench.run_until(101.0)
    assert bench.requests[0].method == "BYE"
    assert bench.events[-1] == HungUp(event.dialog_id, False, "session expired")


@pytest.mark.parametrize("cseq", [1, 2, 77])
def test_a_client_may_ask_after_its_session_also_while_no_new_calls_are_taken(cseq: int) -> None:
    bench = Bench()
    event = confirmed_call(bench)
    bench.uas.available = False
    bench.receive(in_dialog(event, "OPTIONS", cseq))
    assert bench.statuses == [200]
    bench.sent.clear()
    bench.receive(in_dialog(event, "BYE", 3))
    bench.receive(in_dialog(event, "OPTIONS", 78))
    assert bench.statuses == [200, 481]
