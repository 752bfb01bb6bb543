"""What a handoff still owes: effects that may not have been performed, and its running deadlines.

Stored with every revision, so that another replica goes on exactly there. What was performed and
not yet known to be is performed twice: every effect's id makes that harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.handoff.effects import (
    ClearDeadline,
    Effect,
    Finish,
    SetDeadline,
    StartWitness,
    StopWitness,
)
from orchestrator.handoff.events import Deadline, DeadlinePassed, Event


@dataclass(frozen=True, slots=True)
class Owed:
    """`effects` in the order of the table; `deadlines` as they were last set."""

    effects: tuple[Effect, ...] = ()
    deadlines: tuple[SetDeadline, ...] = ()


NOTHING = Owed()


class Debts:
    """Keeps account of one handoff's effects while it runs."""

    def __init__(self, owed: Owed = NOTHING) -> None:
        self._effects: dict[str, Effect] = {}
        self._deadlines: dict[Deadline, SetDeadline] = {}
        self.enter((*owed.deadlines, *owed.effects))

    def enter(self, effects: Iterable[Effect]) -> None:
        """Before they are begun. The witness follows from the state itself; Finish is news."""
        for effect in effects:
            match effect:
                case SetDeadline(which):
                    self._deadlines[which] = effect
                case ClearDeadline(which):
                    self._deadlines.pop(which, None)
                case StartWitness() | StopWitness() | Finish():
                    pass
                case _:
                    self._effects[effect.id] = effect

    def paid(self, effect_id: str) -> None:
        self._effects.pop(effect_id, None)

    def heard(self, event: Event, answers: str) -> None:
        """Before the effects that follow from it. `answers`: the effect it came from, if any.

        Not when the effect was performed: its answer may be lost with this process.
        """
        self.paid(answers)
        if isinstance(event, DeadlinePassed):
            self._deadlines.pop(event.which, None)

    def owed(self) -> Owed:
        return Owed(tuple(self._effects.values()), tuple(self._deadlines.values()))
