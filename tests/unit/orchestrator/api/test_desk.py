"""Targets with their waits, and reports of outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from orchestrator.api.desk import (
    Desk,
    Listed,
    ReportedBefore,
    Stories,
    availability,
    place_call,
    report_outcome,
)
from orchestrator.api.handoff_wire import InvalidRequest
from orchestrator.model import (
    CallId,
    Context,
    Endpoint,
    Escalation,
    HandoffId,
    Queue,
    QueueState,
)
from voicefork.handoff.v1 import handoff_pb2 as pb

SUPPORT = Listed(Queue("support"), languages=("en-US", "de"))


@dataclass
class FakeReports:
    kept: dict[str, Mapping[str, object]] = field(default_factory=dict)

    async def keep(
        self, tenant: str, handoff: HandoffId, report: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        before = self.kept.get(handoff)
        self.kept.setdefault(handoff, report)
        return before


class FakePlacer:
    async def place(
        self, *, request_id: str, to: str, caller: str, tenant: str, route: str
    ) -> CallId:
        return CallId(f"{tenant} {caller} -> {to} ({request_id}){route and f' by {route}'}")


@dataclass
class Office:
    counted: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.desk = Desk(
            targets=lambda _: (SUPPORT,),
            queues=dict,
            reports=FakeReports(),
            counted=self.counted.append,
            placer=FakePlacer(),
            stories=Stories(),
        )


@pytest.fixture
def office() -> Office:
    return Office()


def one(state: QueueState | None, listed: Listed = SUPPORT) -> pb.ListTargetsResponse.Availability:
    states = {} if state is None else {state.name: state}
    (found,) = availability([listed], states, "")
    return found


def test_a_queue_is_told_with_its_members_its_callers_and_its_wait() -> None:
    found = one(QueueState("support", members=3, available=0, waiting=2, expected_wait=40.5))
    assert (found.open, found.members, found.waiting) == (True, 3, 2)
    assert found.expected_wait.ToMilliseconds() == 40500


def test_a_queue_with_nobody_logged_in_is_closed() -> None:
    assert not one(QueueState("support", members=0)).open


@pytest.mark.parametrize("state", [None, QueueState("support")])
def test_a_queue_of_which_nothing_is_known_is_open_and_its_wait_unset(
    state: QueueState | None,
) -> None:
    found = one(state)
    assert found.open
    assert not found.HasField("expected_wait")


def test_out_of_hours_a_queue_is_closed_whoever_is_logged_in() -> None:
    assert not one(QueueState("support", members=3), Listed(Queue("support"), open=False)).open


@pytest.mark.parametrize(
    ("language", "spoken"),
    [("", True), ("en", True), ("en-US", True), ("en-GB", False), ("de-AT", True), ("fr", False)],
)
def test_only_those_who_speak_the_language_are_told(language: str, spoken: bool) -> None:
    assert bool(availability([SUPPORT], {}, language)) is spoken


def test_a_phone_speaks_every_language() -> None:
    (found,) = availability([Listed(Endpoint("PJSIP/alice"))], {}, "fr")
    assert found.target.endpoint == "PJSIP/alice"


def report(**fields: object) -> pb.ReportOutcomeRequest:
    return pb.ReportOutcomeRequest(handoff_id="h", **fields)  # type: ignore[arg-type]


async def test_a_report_counts_once(office: Office) -> None:
    for _ in range(2):
        await report_outcome(office.desk, "t", report(repeated_information=True))
    assert office.counted == [True]


async def test_another_report_of_the_same_handoff_is_refused(office: Office) -> None:
    await report_outcome(office.desk, "t", report())
    with pytest.raises(ReportedBefore):
        await report_outcome(office.desk, "t", report(repeated_information=True))
    assert office.counted == [False]


async def test_a_report_of_any_length_is_refused(office: Office) -> None:
    with pytest.raises(InvalidRequest):
        await report_outcome(office.desk, "t", report(agent="x" * 300))


async def test_a_call_is_placed_for_the_usual_tenant_unless_one_is_named(office: Office) -> None:
    asked = pb.PlaceCallRequest(request_id="r", to="+1", **{"from": "+2"})  # type: ignore[arg-type]
    assert await place_call(office.desk, "usual", asked) == "usual +2 -> +1 (r)"


async def test_what_was_told_with_the_order_is_in_the_calls_handoff(office: Office) -> None:
    asked = pb.PlaceCallRequest(request_id="r", to="+1", context=pb.Context(summary="owes 150"))
    call = await place_call(office.desk, "usual", asked)
    plain = office.desk.stories.added(Escalation("r", call))
    assert plain.context.summary == "owes 150"
    newer = office.desk.stories.added(Escalation("r", call, context=Context(summary="has paid")))
    assert newer.context.summary == "has paid"
    assert office.desk.stories.added(Escalation("r", CallId("other"))).context == Context()


def test_of_too_many_stories_the_oldest_go() -> None:
    stories = Stories(most=1)
    for name in ("a", "b"):
        stories.put(CallId(name), Context(summary=name))
    assert stories.added(Escalation("r", CallId("a"))).context == Context()


@pytest.mark.parametrize(
    "fields",
    [
        {"to": "+1"},
        {"request_id": "r"},
        {"request_id": "r", "to": "+1", "route": "x\r\nX-Voicefork-Fork: no"},
        {"request_id": "r", "to": "+1", "from": "+2\r\nX-Voicefork-Fork: no"},
    ],
)
async def test_an_order_that_lacks_something_or_has_too_much_is_refused(
    office: Office, fields: Mapping[str, str]
) -> None:
    with pytest.raises(InvalidRequest):
        await place_call(office.desk, "usual", pb.PlaceCallRequest(**fields))  # type: ignore[arg-type]
