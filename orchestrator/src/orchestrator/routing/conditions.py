"""The conditions of a rule. Each says what it wanted and found: what decides also tells.

They are also the shape of `when` in the file: names, types and descriptions of the fields are what
an operator writes and reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.model import QueueState
from orchestrator.routing.parts import (
    Languages,
    NumberPattern,
    Part,
    SlotTest,
    Span,
    Texts,
    listed,
)
from orchestrator.routing.situation import Subject
from orchestrator.routing.words import language_fits, wanted_words

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition, checked."""

    what: str  # key in the file: intent, slots.amount, queue.support.members
    wanted: str
    found: str
    met: bool


class QueueTest(Part):
    """A queue's state. What is not known of it is not met."""

    open: bool | None = Field(
        default=None, description="within the opening hours that `queues` names"
    )
    members: Span | None = Field(default=None, description="agents logged in")
    available: Span | None = Field(default=None, description="of these neither paused nor in use")
    waiting: Span | None = Field(default=None, description="callers in the queue")
    wait: Span | None = Field(default=None, description="expected wait in seconds")

    def findings(self, name: str, subject: Subject) -> Iterator[Finding]:
        if self.open is not None:
            found = subject.queue_open(name)
            words = {True: "open", False: "closed"}
            what = f"queue.{name}.open"
            yield Finding(what, words[self.open], words[found], found is self.open)
        state = subject.situation.queues.get(name, QueueState(name))
        for what, span, value in (
            ("members", self.members, state.members),
            ("available", self.available, state.available),
            ("waiting", self.waiting, state.waiting),
            ("wait", self.wait, state.expected_wait),
        ):
            if span is not None:
                text = UNKNOWN if value is None else f"{value:g}"
                met = value is not None and span.holds(value)
                yield Finding(f"queue.{name}.{what}", str(span), text, met)


class When(Part):
    """All of these must be met; one that is left out is."""

    tenant: Texts | None = Field(default=None, description="whose call it is; globs")
    intent: Texts | None = Field(default=None, description="what the AI says it is about; globs")
    confidence: float | None = Field(
        default=None, ge=0, le=1, description="how sure of the intent the AI must be, 0 to 1"
    )
    language: Languages | None = Field(
        default=None, description="ranges: `de` fits de and de-CH (RFC 4647 basic filtering)"
    )
    slots: dict[str, SlotTest] | None = Field(
        default=None, description="what the AI collected, by name"
    )
    caller: Annotated[list[NumberPattern], BeforeValidator(listed)] | None = Field(
        default=None, description="E.164 numbers, prefixes (+4930*), or anonymous"
    )
    open: Texts | None = Field(default=None, description="calendars: one of these is open")
    closed: Texts | None = Field(default=None, description="calendars: all of these are closed")
    queue: dict[str, QueueTest] | None = Field(
        default=None, description="states of queues, by name"
    )
    sentiment: Texts | None = Field(
        default=None, description="the caller's mood as the AI names it; globs"
    )
    priority: int | None = Field(default=None, ge=0, description="at least this was asked for")
    words: dict[str, Texts] | None = Field(
        default=None,
        description="whole words and phrases in the reason, the summary or the caller's last 6 "
        "turns; by language (the call's, `*` always; all where none fits) or a plain list",
    )
    any: list[When] | None = Field(
        default=None, description="at least one of these fits", min_length=1
    )
    none: list[When] | None = Field(default=None, description="not one of these fits", min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _plain_words(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(value.get("words"), str | list):
            return {**value, "words": {"*": value["words"]}}
        return value

    def findings(self, subject: Subject) -> tuple[Finding, ...]:
        """Every condition that is there, in the order of the fields."""
        return tuple(found for check in _CHECKS for found in check(self, subject))

    def hours(self, subject: Subject) -> tuple[Finding, ...]:
        """Of the conditions those of opening hours alone."""
        return tuple(_hours(self, subject))

    def concerns(self, tenant: str) -> bool:
        """Whether calls of this tenant can meet it at all."""
        return all(finding.met for finding in _globs("tenant", self.tenant, tenant))

    def calendars(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every calendar that is named here, and where."""
        for key, names in (("open", self.open), ("closed", self.closed)):
            for place, name in enumerate(names or ()):
                yield (key, place), name
        for key, groups in (("any", self.any), ("none", self.none)):
            for place, group in enumerate(groups or ()):
                for where, name in group.calendars():
                    yield (key, place, *where), name


def _globs(what: str, patterns: list[str] | None, text: str) -> Iterator[Finding]:
    if patterns is not None:
        met = any(fnmatchcase(text.casefold(), pattern.casefold()) for pattern in patterns)
        yield Finding(what, _one_of(patterns), text or "nothing", bool(text) and met)


def _asked(when: When, subject: Subject) -> Iterator[Finding]:
    asked = subject.asked
    yield from _globs("tenant", when.tenant, subject.situation.tenant)
    yield from _globs("intent", when.intent, asked.intent)
    if when.confidence is not None:
        sure = asked.confidence
        found = UNKNOWN if sure is None else f"{sure:g}"
        met = sure is not None and sure >= when.confidence
        yield Finding("confidence", f"at least {when.confidence:g}", found, met)
    if when.language is not None:
        met = any(language_fits(asked.language, each) for each in when.language)
        yield Finding("language", _one_of(when.language), asked.language or "nothing", met)


def _slots(when: When, subject: Subject) -> Iterator[Finding]:
    slots = subject.asked.context.slots
    for name, test in (when.slots or {}).items():
        there = slots.get(name) is not None
        found = repr(slots[name]) if there else "nothing"
        yield Finding(f"slots.{name}", str(test), found, there and test.holds(slots[name]))


def _caller(when: When, subject: Subject) -> Iterator[Finding]:
    if when.caller is None:
        return
    number = subject.caller
    met = any(
        number.startswith(each[:-1]) if each.endswith("*") else number == each
        for each in when.caller
    ) or (not number.lstrip("+").isdigit() and "anonymous" in when.caller)
    yield Finding("caller", _one_of(when.caller), number or "withheld", met)


def _hours(when: When, subject: Subject) -> Iterator[Finding]:
    at = subject.situation.now.isoformat(timespec="minutes")
    for what, names, every in (("open", when.open, False), ("closed", when.closed, True)):
        if names is not None:
            opened = [name for name in names if subject.open(name)]
            met = not opened if every else bool(opened)
            found = f"{_one_of(opened)} open at {at}" if opened else f"closed at {at}"
            wanted = f"none of {', '.join(names)}" if every else _one_of(names)
            yield Finding(what, f"{wanted} open", found, met)


def _queues(when: When, subject: Subject) -> Iterator[Finding]:
    for name, test in (when.queue or {}).items():
        yield from test.findings(name, subject)


def _mood(when: When, subject: Subject) -> Iterator[Finding]:
    asked = subject.asked
    yield from _globs("sentiment", when.sentiment, asked.context.sentiment)
    if when.priority is not None:
        met = asked.priority >= when.priority
        yield Finding("priority", f"at least {when.priority}", str(asked.priority), met)
    if when.words is not None:
        wanted = wanted_words(when.words, asked.language)
        heard = [word for word in wanted if subject.said.has(word)]
        found = f"heard {_one_of(heard)}" if heard else "none of them"
        yield Finding("words", _one_of(wanted), found, bool(heard))


def _groups(when: When, subject: Subject) -> Iterator[Finding]:
    for what, groups, wanted in (("any", when.any, True), ("none", when.none, False)):
        if groups is not None:
            checked = [group.findings(subject) for group in groups]
            met = any(all(each.met for each in group) for group in checked) is wanted
            told = " or ".join(_together(group) for group in checked)
            yield Finding(what, f"{'one' if wanted else 'none'} of {len(groups)}", told, met)


_CHECKS: tuple[Callable[[When, Subject], Iterator[Finding]], ...] = (
    _asked,
    _slots,
    _caller,
    _hours,
    _queues,
    _mood,
    _groups,
)


def _together(group: tuple[Finding, ...]) -> str:
    parts = (f"{each.what}: {each.found} ({'yes' if each.met else 'no'})" for each in group)
    return f"[{'; '.join(parts) or 'always'}]"


def _one_of(texts: list[str]) -> str:
    return " or ".join(texts)
