"""Calls that are made: dialled once, typed failures, nobody's phone rings for nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from orchestrator.errors import Unreachable
from orchestrator.fleet.order import (
    Busy,
    Declined,
    NoAnswer,
    NotAllowed,
    OrderChanged,
    Unreached,
)
from orchestrator.fleet.placing import Dialling, Placing, endpoint_for
from orchestrator.model import CallId, Placed


@dataclass
class FakePbx:
    fails: bool = False
    dialled: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    hung_up: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    knows_the_place: bool = True

    async def call_out(
        self,
        channel_id: str,
        endpoint: str,
        *,
        caller_id: str,
        ring_seconds: int,
        variables: Mapping[str, str],
    ) -> None:
        if self.fails:
            raise Unreachable("POST", "/channels", 0, "away")
        self.dialled.append((channel_id, endpoint, variables))

    async def begin(self, channel_id: str) -> bool:
        self.begun.append(channel_id)
        return self.knows_the_place

    async def hang_up(self, channel_id: str) -> None:
        self.hung_up.append(channel_id)


@dataclass
class FakeLedger:
    orders: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    results: dict[tuple[str, str], str] = field(default_factory=dict)
    rings: dict[CallId, Placed] = field(default_factory=dict)

    async def enter(self, order: Placed, app: str, body: str) -> tuple[str, str]:
        self.rings.setdefault(order.call, order)
        return self.orders.setdefault((order.tenant, order.request_id), (order.call, body))

    async def settle(self, order: Placed, app: str, result: str) -> None:
        self.rings.pop(order.call, None)
        self.results.setdefault((order.tenant, order.request_id), result)

    async def ringing(self, app: str) -> Sequence[Placed]:
        return list(self.rings.values())

    async def result(self, tenant: str, request_id: str) -> str:
        return self.results.get((tenant, request_id), "")


@dataclass
class Office:
    pbx: FakePbx = field(default_factory=FakePbx)
    ledger: FakeLedger = field(default_factory=FakeLedger)

    def __post_init__(self) -> None:
        dialling = Dialling("PJSIP/${EXT}@carrier", "voicefork-0")
        self.placing = Placing(
            self.pbx, self.ledger, dialling, lambda to, _: not to.startswith("+900")
        )

    def ask(self, to: str = "+14155550100", request_id: str = "r") -> asyncio.Task[CallId]:
        return asyncio.create_task(
            self.placing.place(request_id=request_id, to=to, caller="", tenant="default")
        )

    async def ringing(self, task: asyncio.Task[CallId]) -> str:
        while not self.pbx.dialled and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
        return self.pbx.dialled[-1][0]


@pytest.fixture
def office() -> Office:
    return Office()


async def test_an_answered_call_is_known_by_its_id(office: Office) -> None:
    asked = office.ask()
    channel = await office.ringing(asked)
    assert office.placing.answered(channel)
    call = await asked
    assert channel == f"voicefork-out-{call}"
    assert UUID(call).version == 7
    assert office.pbx.hung_up == []


async def test_the_leg_carries_what_the_edge_forks_it_by(office: Office) -> None:
    asked = office.ask()
    channel = await office.ringing(asked)
    _, endpoint, variables = office.pbx.dialled[0]
    office.placing.answered(channel)
    assert endpoint == "PJSIP/+14155550100@carrier"
    assert variables["PJSIP_HEADER(add,X-Voicefork-Call)"] == await asked
    assert variables["PJSIP_HEADER(add,X-Voicefork-Direction)"] == "out"


async def test_a_route_that_was_asked_for_goes_to_the_worker_with_the_leg(office: Office) -> None:
    placing = office.placing.place(
        request_id="r", to="+1415", caller="", tenant="default", route="sales"
    )
    asked = asyncio.create_task(placing)
    office.placing.answered(await office.ringing(asked))
    await asked
    assert office.pbx.dialled[0][2]["PJSIP_HEADER(add,X-Voicefork-Route)"] == "sales"


async def test_another_route_is_another_order(office: Office) -> None:
    asked = office.ask()
    office.placing.answered(await office.ringing(asked))
    await asked
    again = office.placing.place(
        request_id="r", to="+14155550100", caller="", tenant="default", route="sales"
    )
    with pytest.raises(OrderChanged):
        await again


@pytest.mark.parametrize(
    ("sip", "q850", "failure"),
    [(486, 17, Busy), (603, 21, Declined), (480, 19, NoAnswer), (404, 1, Unreached)],
)
async def test_a_call_that_fails_says_why(
    office: Office, sip: int, q850: int, failure: type[Exception]
) -> None:
    asked = office.ask()
    office.placing.ended(await office.ringing(asked), sip, q850)
    with pytest.raises(failure):
        await asked


async def test_a_pbx_that_is_away_cannot_reach_anybody(office: Office) -> None:
    office.pbx.fails = True
    with pytest.raises(Unreached):
        await office.ask()


async def test_asked_again_it_tells_of_the_same_call_and_dials_nobody(office: Office) -> None:
    asked = office.ask()
    channel = await office.ringing(asked)
    again = office.ask()
    office.placing.answered(channel)
    assert await asked == await again
    assert len(office.pbx.dialled) == 1


async def test_asked_again_a_failure_is_the_same_failure(office: Office) -> None:
    asked = office.ask()
    office.placing.ended(await office.ringing(asked), 486, 17)
    for each in (asked, office.ask()):
        with pytest.raises(Busy):
            await each


async def test_the_same_request_for_another_callee_is_refused(office: Office) -> None:
    asked = office.ask()
    office.placing.answered(await office.ringing(asked))
    await asked
    with pytest.raises(OrderChanged):
        await office.ask(to="+14155550199")


async def test_who_is_not_allowed_is_not_called(office: Office) -> None:
    with pytest.raises(NotAllowed):
        await office.ask(to="+900123456")
    assert office.pbx.dialled == []
    assert office.ledger.orders == {}


async def test_for_a_tenant_whose_name_could_be_no_name_nobody_is_called(office: Office) -> None:
    placing = office.placing.place(request_id="r", to="+1415", caller="", tenant="a:b\r\nX: y")
    with pytest.raises(NotAllowed):
        await placing
    assert office.ledger.orders == {}


async def test_the_phone_stops_ringing_when_nobody_asks_any_more(office: Office) -> None:
    asked = office.ask()
    channel = await office.ringing(asked)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert office.pbx.hung_up == [channel]
    assert office.ledger.results["default", "r"] == "INTERRUPTED"


async def test_what_rings_for_a_dead_replica_is_answered_at_its_heir(office: Office) -> None:
    placed = Placed("default", "r", CallId("c"))
    office.ledger.rings[placed.call] = placed
    (rings,) = await office.placing.take_over("voicefork-1", lambda _: False)
    ringing = asyncio.create_task(rings)
    assert office.placing.answered("voicefork-out-c")
    await ringing
    assert office.ledger.results["default", "r"] == "ANSWERED"
    assert office.pbx.dialled == []


@pytest.mark.parametrize(("answered", "result"), [(True, "ANSWERED"), (None, "INTERRUPTED")])
async def test_what_rings_no_more_is_settled_by_the_heir(
    office: Office, answered: bool | None, result: str
) -> None:
    placed = Placed("default", "r", CallId("c"))
    office.ledger.rings[placed.call] = placed
    assert not await office.placing.take_over("voicefork-1", lambda _: answered)
    assert office.ledger.results["default", "r"] == result
    assert not office.ledger.rings


async def test_a_call_enters_by_itself_where_the_dialplan_has_no_place_for_it(
    office: Office,
) -> None:
    entered: list[str] = []
    office.pbx.knows_the_place = False
    await office.placing.begin("c", lambda: entered.append("c"))
    assert entered == ["c"]


@pytest.mark.parametrize(
    ("to", "endpoint"),
    [
        ("+14155550100", "PJSIP/+14155550100@carrier"),
        ("112", "PJSIP/112@carrier"),
        ("sip:desk@example.com", "PJSIP/carrier/sip:desk@example.com"),
        ("sip:desk@example.com;maddr=x", ""),
        ("100@internal/n", ""),
        ("PJSIP/agent-1", ""),
        ("", ""),
    ],
)
def test_only_numbers_and_plain_uris_are_dialled(to: str, endpoint: str) -> None:
    assert endpoint_for("PJSIP/${EXT}@carrier", to) == endpoint
