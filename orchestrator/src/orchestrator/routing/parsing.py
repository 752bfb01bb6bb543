"""The routes file, read: text in, table out; a mistake is named by its line and path."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any, Union, get_args, get_origin
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ValidationError

from orchestrator.errors import SetupError
from orchestrator.model import Fallback, Menu, Pattern, Target
from orchestrator.routing.calendar import Calendar, Window, parse_days
from orchestrator.routing.document import (
    Actions,
    CalendarPart,
    DestinationsPart,
    Document,
    MenuPart,
    RulePart,
    TenantPart,
)
from orchestrator.routing.reading import Loc, Source, path_text
from orchestrator.routing.situation import Desk
from orchestrator.routing.table import ALWAYS, Choice, RoutingTable, Rule, Tenant, Treatment
from orchestrator.routing.targets import KINDS, AllowList

_FOUND_CHARACTERS = 60
_TO_BOT = Fallback.RETURN_TO_BOT.name.lower()
_SECONDS = {
    "ring_seconds": "ring",
    "accept_seconds": "accept",
    "give_up_seconds": "give_up",
    "phrase_seconds": "phrase",
    "briefing_seconds": "briefing",
}


def parse_table(
    text: str | bytes, usual: RoutingTable, *, without_stasis: bool = False
) -> RoutingTable:
    """A routes file; queue, its context and music are `usual`'s where it does not say.

    `without_stasis`: there are nodes from whose queue nobody comes back to the bot. Raises
    SetupError that names every wrong place, one a line.
    """
    source = Source(text)
    try:
        document = Document.model_validate(_with_shipped(source))
    except ValidationError as error:
        wrong = [_message(source, problem) for problem in error.errors()]
        raise SetupError("\n".join(wrong)) from error
    loose = [*_loose_ends(document), *(_dead_ends(document) if without_stasis else ())]
    if wrong := [_at(source, loc, why) for loc, why in loose]:
        raise SetupError("\n".join(wrong))
    return _table(document, usual)


def default_table(
    targets: Sequence[Target], *, queue_context: str, queue: str, music: str = "default"
) -> RoutingTable:
    """Without a file: everybody to `targets`, attended; and the rules that are shipped."""
    shipped = parse_table(yaml.safe_dump({"rules": list(shipped_rules().values())}), RoutingTable())
    usual = Treatment(targets=tuple(targets), queue=queue)
    return RoutingTable(usual, shipped.rules, queue_context, music or "default")


@cache
def shipped_rules() -> Mapping[str, Mapping[str, Any]]:
    """The rules that come with Voicefork, as a file would write them."""
    text = resources.files("orchestrator.routing").joinpath("shipped.yaml").read_text("utf-8")
    return {rule["name"]: rule for rule in Source(text).document["rules"]}


def _with_shipped(source: Source) -> Any:
    """The document, where a rule with `use` has what the shipped one says and it does not."""
    document = source.document
    if not isinstance(document, Mapping) or not isinstance(document.get("rules"), list):
        return document
    rules = []
    for place, rule in enumerate(document["rules"]):
        used = rule.get("use") if isinstance(rule, Mapping) else None
        if isinstance(used, str):
            if used not in shipped_rules():
                known = ", ".join(shipped_rules())
                why = f"found {used!r}; allowed: {known}"
                raise SetupError(_at(source, ("rules", place, "use"), why))
            rule = {**shipped_rules()[used], **rule}  # noqa: PLW2901
        rules.append(rule)
    return {**document, "rules": rules}


# --- what is wrong -------------------------------------------------------------------------------


def _at(source: Source, loc: Loc, why: str) -> str:
    return f"routes: line {source.line(loc)}: {path_text(loc)}: {why}"


def _message(source: Source, problem: Any) -> str:
    loc = tuple(part for part in problem["loc"] if part != "[key]")
    why = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "extra_forbidden":
        return _at(source, loc, f"no such key; allowed: {', '.join(_allowed(loc[:-1]))}")
    if problem["type"] == "missing":
        return _at(source, loc, "missing")
    found = repr(problem["input"])
    if len(found) > _FOUND_CHARACTERS:
        found = f"{found[:_FOUND_CHARACTERS]}…"
    hint = " (yes, no, on and off are booleans in YAML: quote them)" if _unquoted(problem) else ""
    return _at(source, loc, f"found {found}; allowed: {why}{hint}")


def _unquoted(problem: Any) -> bool:
    return isinstance(problem["input"], bool) and "string" in problem["type"]


def _allowed(loc: Loc) -> list[str]:
    """The keys of the part at this place."""
    kind: Any = Document
    for part in loc:
        model = _model(kind)
        if model is not None and isinstance(part, str):
            names = {field.alias or name: field for name, field in model.model_fields.items()}
            kind = names[part].annotation if part in names else None
        elif (inside := _inside(kind)) is not None:
            kind = inside
    model = _model(kind)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _unwrapped(kind: Any) -> Any:
    """Without `| None` and Annotated."""
    while True:
        if get_origin(kind) in {Union, types.UnionType}:
            kind = next(each for each in get_args(kind) if each is not type(None))
        elif hasattr(kind, "__metadata__"):
            kind = get_args(kind)[0]
        else:
            return kind


def _model(kind: Any) -> type[BaseModel] | None:
    kind = _unwrapped(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _inside(kind: Any) -> Any:
    """Of a list its items, of a mapping its values."""
    arguments = get_args(_unwrapped(kind))
    return arguments[-1] if arguments else None


def _loose_ends(document: Document) -> Iterator[tuple[Loc, str]]:
    """Names that nothing has, and names that two have."""
    known = document.calendars
    for queue, part in document.queues.items():
        if part.hours is not None and part.hours not in known:
            yield ("queues", queue, "hours"), _no_calendar(part.hours, known)
    for loc, actions in _all_actions(document):
        for where, name in _named_calendars(actions):
            if name not in known:
                yield (*loc, *where), _no_calendar(name, known)
    names: set[str] = set()
    for place, rule in enumerate(document.rules):
        if rule.name in names:
            yield ("rules", place, "name"), f"found {rule.name!r} for a second time"
        names.add(rule.name)


def _dead_ends(document: Document) -> Iterator[tuple[Loc, str]]:
    """Lists of ways out that leave none on a node without Stasis."""
    for loc, actions in _all_actions(document):
        if actions.fallbacks and set(actions.fallbacks) == {_TO_BOT}:
            why = f"found {_TO_BOT} alone, which is no way on --ami-nodes; name another, too"
            yield (*loc, "fallbacks"), why


def _no_calendar(name: str, known: Mapping[str, object]) -> str:
    return (
        f"found {name!r}; allowed: the names of calendars ({', '.join(known) or 'there are none'})"
    )


def _all_actions(document: Document) -> Iterator[tuple[tuple[str | int, ...], Actions]]:
    if document.default is not None:
        yield ("default",), document.default
    for name, tenant in document.tenants.items():
        if tenant.default is not None:
            yield ("tenants", name, "default"), tenant.default
    for place, rule in enumerate(document.rules):
        yield ("rules", place), rule


def _named_calendars(actions: Actions) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(actions, RulePart) and actions.when is not None:
        for where, name in actions.when.calendars():
            yield ("when", *where), name
    for place, target in enumerate(actions.targets or ()):
        if target.when is not None:
            for where, name in target.when.calendars():
                yield ("targets", place, "when", *where), name


# --- what it means -------------------------------------------------------------------------------


def _table(document: Document, usual: RoutingTable) -> RoutingTable:
    treatment = replace(usual.default, targets=())
    if document.queue is not None:
        treatment = replace(treatment, queue=document.queue)
    return RoutingTable(
        default=treatment.changed(_changes(document.default or Actions())),
        rules=tuple(
            Rule(part.name, _changes(part), part.when or ALWAYS) for part in document.rules
        ),
        queue_context=document.queue_context or usual.queue_context,
        music=document.music or usual.music,
        tenants={name: _tenant(part) for name, part in document.tenants.items()},
        calendars={name: _calendar(part) for name, part in document.calendars.items()},
        desks={
            name: Desk(part.hours or "", tuple(part.languages or ()))
            for name, part in document.queues.items()
        },
        allow=_allow(document.destinations) or AllowList(),
    )


def _changes(actions: Actions) -> dict[str, Any]:
    given = {
        name: value
        for name in Actions.model_fields
        if (value := getattr(actions, name)) is not None
    }
    limits = {_SECONDS[name]: given.pop(name) for name in _SECONDS if name in given}
    if limits:
        given["limits"] = limits
    if "pattern" in given:
        given["pattern"] = Pattern[given["pattern"].upper()]
    if "fallbacks" in given:
        given["fallbacks"] = tuple(Fallback[way.upper()] for way in given["fallbacks"])
    if "targets" in given:
        given["targets"] = tuple(_choice(part.to, part.when) for part in given["targets"])
    if "menu" in given:
        given["menu"] = _menu(given["menu"])
    return given


def _choice(target: Any, when: Any) -> Target | Choice:
    return target if when is None else Choice(target, when)


def _menu(part: MenuPart) -> Menu:
    keys = {key: Fallback[way.upper()] for key, way in part.keys.items()}
    return Menu(part.announcement, keys, part.every_seconds, part.lasts_seconds)


def _tenant(part: TenantPart) -> Tenant:
    return Tenant(_changes(part.default) if part.default else {}, _allow(part.destinations))


def _allow(part: DestinationsPart | None) -> AllowList | None:
    if part is None:
        return None
    return AllowList({kind: tuple(getattr(part.allow, kind) or ()) for kind in KINDS})


def _calendar(part: CalendarPart) -> Calendar:
    week: dict[int, list[Window]] = {}
    for days, windows in part.hours.items():
        for day in parse_days(days):
            week.setdefault(day, []).extend(windows)
    return Calendar(ZoneInfo(part.timezone), week, frozenset(part.holidays), part.special)
