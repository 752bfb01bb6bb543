"""Whatever comes in whatever order, the endpoint keeps its promises."""

from __future__ import annotations

from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st
from siprec_worker.protocol.sip.events import Cancelled, DialogId, HungUp, Invited, NotRecorded

from tests.builders.sdp import sdp
from tests.builders.sip import Bench, invite, request, response_to
from tests.builders.siprec import MULTIPART, metadata, siprec_body

METHODS = st.sampled_from(["INVITE", "ACK", "BYE", "CANCEL", "UPDATE", "INFO", "OPTIONS", "REFER"])
ACTS = st.one_of(
    st.tuples(st.just("peer"), METHODS, st.integers(1, 6), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from([100, 200, 404, 481, 488, 491])),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.02, 0.5, 1.0, 10.0, 33.0])),
    st.sampled_from([("accept",), ("reject",), ("bye",), ("reinvite",), ("hand over",)]),
)


def act(bench: Bench, what: tuple[object, ...], dialogs: list[DialogId]) -> None:
    of = dialogs[-1] if dialogs else DialogId("none")
    match what:
        case ("peer", str(method), int(cseq), bool(inside)):
            tags = [r.to_tag for r in bench.responses if r.to_tag]
            tag = tags[-1] if inside and tags else ""
            branch = f"z9hG4bK{cseq}{tag}"
            if method == "INVITE":
                bench.receive(invite(cseq=cseq, to_tag=tag, branch=branch, body=sdp()))
            else:
                bench.receive(request(method, cseq=cseq, to_tag=tag, branch=branch, body=sdp()))
        case ("answer", int(status)) if bench.requests:
            bench.receive(response_to(bench.requests[-1], status))
        case ("wait", float(seconds)):
            bench.run_until(bench.now + seconds)
        case ("accept",):
            bench.uas.accept(of, sdp(), bench.now)
        case ("reject",):
            bench.uas.reject(of, 488, "", bench.now)
        case ("bye",):
            bench.uas.bye(of, bench.now)
        case ("hand over",):
            bench.uas.hand_over(of, bench.now)
        case ("reinvite",):
            bench.uas.reinvite(of, sdp(), bench.now)
    bench.collect()


WHOLE = invite(
    body=siprec_body(sdp(), metadata()),
    headers=[MULTIPART, ("Record-Route", "<sip:127.0.0.5;lr>"), ("Require", "siprec")],
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(WHOLE)), st.integers(0, 4), st.text('<>;:",=\r\n @a0', max_size=3)
    ),
    max_size=4,
)


@settings(max_examples=300)
@given(EDITS)
@example([(91, 2, ">")])  # a URI that cannot be written between < and >
def test_a_damaged_invite_never_raises_now_or_later(edits: list[tuple[int, int, str]]) -> None:
    bench = Bench()
    data = WHOLE
    for at, cut, put in edits:
        data = data[:at] + put.encode() + data[at + cut :]
    bench.receive(data)
    for event in bench.events[:]:
        if isinstance(event, Invited):
            bench.uas.accept(event.dialog_id, sdp(), bench.now)
    bench.run_until(200.0)
    assert bench.uas.dialog_count == 0


@settings(max_examples=150)
@given(st.lists(ACTS, max_size=25))
def test_every_history_ends_at_rest_with_one_farewell_per_dialog(
    history: list[tuple[object, ...]],
) -> None:
    bench = Bench()
    dialogs: list[DialogId] = []
    for what in history:
        act(bench, what, dialogs)
        dialogs = [e.dialog_id for e in bench.events if isinstance(e, Invited) and not e.reinvite]
    bench.run_until(bench.now + 5 * 3600)

    farewells = Counter(
        e.dialog_id
        for e in bench.events
        if isinstance(e, HungUp | NotRecorded) or (isinstance(e, Cancelled) and not e.reinvite)
    )
    assert all(times == 1 for times in farewells.values())
    assert bench.uas.next_timeout() is None
    assert not any(response.status < 200 for response in bench.responses)
