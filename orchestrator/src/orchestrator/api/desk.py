"""What HandoffService offers beside handoffs: targets and their waits, reports, calls out."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from voicefork.handoff.v1 import handoff_pb2 as pb

from orchestrator.api.handoff_wire import (
    ID_CHARACTERS,
    InvalidRequest,
    context_from,
    target_to,
    wrong_context,
)
from orchestrator.handoff.refusals import Refused
from orchestrator.model import CallId, Context, Escalation, HandoffId, Queue, QueueState, Target

TEXT_CHARACTERS = 200
MOST_STORIES = 10_000
_ROUTE = re.compile(r"[A-Za-z0-9._-]{1,64}")  # it goes into a SIP header


@dataclass(frozen=True, slots=True)
class Listed:
    """A target by name, as the routes know it."""

    target: Target
    open: bool = True  # by its calendar
    languages: tuple[str, ...] = ()  # () = every


class Reports(Protocol):
    """Where people's reports are kept. Raises StoreError."""

    async def keep(
        self, tenant: str, handoff: HandoffId, report: Mapping[str, object]
    ) -> Mapping[str, object] | None:
        """The report that was there before; None = this one is stored now."""


class Placer(Protocol):
    """Who makes calls. Raises Refused, StoreError."""

    async def place(
        self, *, request_id: str, to: str, caller: str, tenant: str, route: str
    ) -> CallId: ...


class Stories:
    """What was told with the order of a call, for the handoff it may come to; the oldest go."""

    def __init__(self, most: int = MOST_STORIES) -> None:
        self._most = most
        self._told: OrderedDict[CallId, Context] = OrderedDict()

    def put(self, call: CallId, context: Context) -> None:
        self._told[call] = context
        if len(self._told) > self._most:
            self._told.popitem(last=False)

    def added(self, asked: Escalation) -> Escalation:
        """With what was known before; what is asked with counts more."""
        if (before := self._told.get(asked.call_id)) is None:
            return asked
        return replace(asked, context=before.merged(asked.context))


@dataclass(frozen=True, slots=True)
class Desk:
    """`counted(repeated)` is told of each report once."""

    targets: Callable[[str], Sequence[Listed]]  # of a tenant
    queues: Callable[[], Mapping[str, QueueState]]
    reports: Reports
    counted: Callable[[bool], None]
    placer: Placer
    stories: Stories


class ReportedBefore(Refused):
    code = "ALREADY_EXISTS"
    reason = "REPORTED_BEFORE"


def availability(
    listed: Sequence[Listed], queues: Mapping[str, QueueState], language: str
) -> list[pb.ListTargetsResponse.Availability]:
    """Those who speak `language` (BCP 47; a region counts only where both name one); "" = all."""
    return [
        _available(each, queues)
        for each in listed
        if not language or not each.languages or _spoken(language, each.languages)
    ]


def _available(
    each: Listed, queues: Mapping[str, QueueState]
) -> pb.ListTargetsResponse.Availability:
    wire = pb.ListTargetsResponse.Availability(open=each.open, languages=each.languages)
    wire.target.CopyFrom(target_to(each.target))
    state = queues.get(each.target.name) if isinstance(each.target, Queue) else None
    if state is None:
        return wire
    wire.open = each.open and state.members != 0  # not known is no reason to call it closed
    wire.waiting = state.waiting or 0
    wire.members = state.members or 0
    if state.expected_wait is not None:
        wire.expected_wait.FromNanoseconds(round(state.expected_wait * 1e9))
    return wire


def _spoken(language: str, languages: Sequence[str]) -> bool:
    wanted = language.casefold().split("-")
    return any(
        all(a == b for a, b in zip(wanted, spoken.casefold().split("-"), strict=False))
        for spoken in languages
    )


async def report_outcome(desk: Desk, tenant: str, request: pb.ReportOutcomeRequest) -> None:
    """Stored once and counted once; the same report again is fine. `tenant`: the handoff's.

    Raises InvalidRequest, ReportedBefore, StoreError.
    """
    wrong = [
        (field, f"at most {TEXT_CHARACTERS} characters")
        for field in ("disposition", "agent")
        if len(getattr(request, field)) > TEXT_CHARACTERS
    ]
    if wrong:
        raise InvalidRequest(wrong)
    report = {
        "repeated": request.repeated_information,
        "disposition": request.disposition,
        "agent": request.agent,
    }
    before = await desk.reports.keep(tenant, HandoffId(request.handoff_id), report)
    if before is None:
        desk.counted(request.repeated_information)
    elif dict(before) != report:
        raise ReportedBefore("this handoff was reported of before, and otherwise")


async def place_call(desk: Desk, usual_tenant: str, request: pb.PlaceCallRequest) -> CallId:
    """Raises InvalidRequest, Refused, StoreError."""
    wrong = [
        (field, f"at most {ID_CHARACTERS} characters")
        for field in ("request_id", "to", "from", "tenant")
        if len(getattr(request, field)) > ID_CHARACTERS
    ]
    wrong += wrong_context(request.context)
    wrong += [(field, "required") for field in ("request_id", "to") if not getattr(request, field)]
    if not getattr(request, "from").isprintable():  # it goes into a SIP header
        wrong.append(("from", "one line, without control characters"))
    if request.route and not _ROUTE.fullmatch(request.route):
        wrong.append(("route", "the name of a worker's route: letters, digits, . _ and -"))
    if wrong:
        raise InvalidRequest(wrong)
    call = await desk.placer.place(
        request_id=request.request_id,
        to=request.to,
        caller=getattr(request, "from"),
        tenant=request.tenant or usual_tenant,
        route=request.route,
    )
    desk.stories.put(call, context_from(request.context))
    return call
