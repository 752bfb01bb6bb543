"""What is true when an escalation is decided about, beside the escalation itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from orchestrator.model import Escalation, QueueState, Speaker
from orchestrator.routing.calendar import Calendar
from orchestrator.routing.words import Said

LINES_HEARD = 6
"""Of the transcript: the last turns of the caller."""


class QueueStates(Protocol):
    """The PBX's queues as last seen."""

    def snapshot(self) -> Mapping[str, QueueState]:
        """By name. A queue that is missing, and every None in it, is not known."""


NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Situation:
    now: datetime = NEVER  # aware
    tenant: str = ""
    caller: str = ""  # number, "" = withheld
    queues: Mapping[str, QueueState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes say of a queue."""

    calendar: str = ""  # "" = always open
    languages: tuple[str, ...] = ()  # () = every


class Subject:
    """An escalation in its situation, as conditions look at it."""

    def __init__(
        self,
        asked: Escalation,
        situation: Situation,
        calendars: Mapping[str, Calendar],
        desks: Mapping[str, Desk],
    ) -> None:
        self.asked = asked
        self.situation = situation
        self._calendars = calendars
        self._desks = desks
        self._said: Said | None = None

    @property
    def said(self) -> Said:
        """Reason, summary, and what the caller said last; the bot's own words prove nothing."""
        if self._said is None:
            context = self.asked.context
            lines = [
                line.text
                for line in context.transcript_tail
                if line.speaker in {Speaker.CUSTOMER, Speaker.UNSPECIFIED}
            ]
            self._said = Said([self.asked.reason, context.summary, *lines[-LINES_HEARD:]])
        return self._said

    @property
    def caller(self) -> str:
        """+ and digits, where it is a number."""
        number = "".join(c for c in self.situation.caller if c not in " -()./")
        return f"+{number[2:]}" if number.startswith("00") else number

    def open(self, calendar: str) -> bool:
        return self._calendars[calendar].is_open(self.situation.now)

    def queue_open(self, queue: str) -> bool:
        desk = self._desks.get(queue)
        return desk is None or not desk.calendar or self.open(desk.calendar)
