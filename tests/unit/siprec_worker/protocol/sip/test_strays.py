"""Requests within dialogs that other workers have: passed on, or refused without harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from siprec_worker.protocol.sip.events import Strayed
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.sdp import sdp
from tests.builders.sip import Bench, confirmed_call, in_dialog, response_to

OWNER = "sip:127.0.0.9:5094;transport=udp"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.uas.passes_on = True
    return bench


def stray(bench: Bench) -> Strayed:
    assert isinstance(bench.events[-1], Strayed)
    return bench.events[-1]


def handed_over(bench: Bench) -> Bench:
    """Another worker has adopted our dialog; that one."""
    event = confirmed_call(bench)
    state = bench.uas.dialog_state(event.dialog_id)
    assert state is not None
    other = Bench(UasSettings("127.0.0.9", 5094))
    other.uas.adopt(state, 0.0)
    bench.uas.hand_over(event.dialog_id, bench.now)
    bench.receive(in_dialog(event, "BYE", 4))
    return other


def test_a_bye_to_the_former_worker_reaches_the_owner_and_its_answer_the_peer(bench: Bench) -> None:
    owner = handed_over(bench)
    bench.uas.pass_on(stray(bench), OWNER, bench.now)
    bench.collect()
    (passed,) = bench.requests
    assert passed.method == "BYE"
    assert len(passed.headers.values("via")) == 2
    assert passed.headers.get("max-forwards") == "69"
    owner.receive(passed.encode())
    assert owner.statuses == [200]
    bench.receive(owner.responses[0].encode())
    assert bench.statuses == [200]
    assert len(bench.responses[0].headers.values("via")) == 1


def test_an_owner_that_does_not_answer_is_told_as_408(bench: Bench) -> None:
    handed_over(bench)
    bench.uas.pass_on(stray(bench), OWNER, bench.now)
    bench.run_until(bench.now + 40)
    assert bench.statuses == [408]


def test_who_was_adopted_from_in_vain_goes_on_with_higher_numbers(bench: Bench) -> None:
    event = confirmed_call(bench)
    state = bench.uas.dialog_state(event.dialog_id)
    assert state is not None
    other = Bench(UasSettings("127.0.0.9", 5094))
    for uas in (other.uas, bench.uas):
        if uas is other.uas:
            uas.adopt(state, 0.0)
        else:
            assert uas.outrun(event.dialog_id, 0.0)
        assert uas.reinvite(event.dialog_id, sdp(), 0.0)
    other.collect()
    bench.collect()
    assert bench.requests[0].cseq.number > other.requests[0].cseq.number


def test_a_reinvite_of_a_dialog_handed_over_is_refused_at_once(bench: Bench) -> None:
    event = confirmed_call(bench)
    bench.uas.hand_over(event.dialog_id, bench.now)
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    assert bench.statuses == [488]


def test_a_request_of_an_unknown_dialog_waits_for_who_knows_its_owner(bench: Bench) -> None:
    event = confirmed_call(Bench())
    bench.receive(in_dialog(event, "INVITE", 3, body=sdp()))
    assert bench.statuses == []
    bench.uas.answer_stray(stray(bench), 488, bench.now)
    bench.collect()
    assert bench.statuses == [488]


def test_without_anybody_who_knows_it_is_refused() -> None:
    bench, event = Bench(), confirmed_call(Bench())
    bench.receive(in_dialog(event, "BYE", 3))
    assert bench.statuses == [481]


@pytest.mark.parametrize("hops", ["0", "many", "\u00b2", "9" * 5000])
def test_a_request_that_has_no_hops_left_that_can_be_counted_goes_no_farther(
    bench: Bench, hops: str
) -> None:
    handed_over(bench)
    asked = stray(bench)
    headers = replace(
        asked.request.headers,
        items=tuple(
            (name, hops if name.lower() == "max-forwards" else value)
            for name, value in (*asked.request.headers.items, ("Max-Forwards", hops))
        ),
    )
    bench.uas.pass_on(replace(asked, request=replace(asked.request, headers=headers)), OWNER, 0.0)
    bench.collect()
    assert bench.statuses == [483]
    assert bench.requests == []


@pytest.mark.parametrize("uri", ["", "mailto:x", "sip:"])
def test_an_owner_that_cannot_be_reached_is_an_error_of_that_request_only(
    bench: Bench, uri: str
) -> None:
    handed_over(bench)
    bench.uas.pass_on(stray(bench), uri, bench.now)
    bench.collect()
    assert len(bench.statuses) == 1
    assert bench.statuses[0] in (400, 480)
    assert bench.requests == []


def test_an_answer_that_comes_twice_is_given_back_once(bench: Bench) -> None:
    handed_over(bench)
    bench.uas.pass_on(stray(bench), OWNER, bench.now)
    bench.collect()
    answer = response_to(bench.requests[0], 200)
    bench.receive(answer)
    bench.receive(answer)
    assert bench.statuses == [200]
