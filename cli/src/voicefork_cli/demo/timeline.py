"""What happened when, and to whom: the demo's diary."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """One event. `who` is a party: caller, bot, PBX, worker, agent, screen, handoff, lab."""

    at_ns: int  # CLOCK_REALTIME
    who: str
    text: str


class Timeline:
    """Moments in the order they became known; `moments` sorts them by time."""

    def __init__(self, on_new: Callable[[Moment], None] = lambda _: None) -> None:
        self._moments: list[Moment] = []
        self._on_new = on_new

    def add(self, at_ns: int, who: str, text: str) -> None:
        moment = Moment(at_ns, who, text)
        self._moments.append(moment)
        self._on_new(moment)

    @property
    def moments(self) -> list[Moment]:
        return sorted(self._moments, key=lambda moment: moment.at_ns)

    def first(self, who: str, text: str) -> Moment | None:
        """The earliest moment of `who` whose text begins with `text`."""
        found = (m for m in self.moments if m.who == who and m.text.startswith(text))
        return next(found, None)

    def as_list(self, zero_ns: int) -> list[dict[str, object]]:
        """For JSON: seconds since `zero_ns` beside the clock's own time."""
        return [
            {"t": round((moment.at_ns - zero_ns) / 1e9, 3), **asdict(moment)}
            for moment in self.moments
        ]


def spoken(moments: Iterable[Moment]) -> list[str]:
    """The sentences of a conversation, as "who: text"."""
    return [f"{m.who}: {m.text}" for m in moments if m.text.startswith(("said ", "heard "))]
