"""The shape of the routes file: every key, what it may hold, and what it means."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, model_validator
from pydantic.functional_validators import AfterValidator, PlainValidator

from orchestrator.model import DialplanEntry, Fallback, Target
from orchestrator.routing.briefing import check_template
from orchestrator.routing.calendar import Window, parse_days, parse_window
from orchestrator.routing.conditions import When
from orchestrator.routing.parts import LanguageRange, Languages, Part, Text, Texts, listed
from orchestrator.routing.targets import parse_entry, parse_target

DTMF = "0123456789*#ABCD"
MOST_SECONDS = 3600.0

_WAYS = {way.name.lower(): way for way in Fallback}
PatternName = Literal["attended", "dialplan", "warm_whisper", "refer"]
WayName = Literal[
    "next_target", "voicemail", "backup_centre", "callback", "holding_menu", "return_to_bot"
]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("a time zone of the IANA database, such as Europe/Berlin") from error
    return name


def _days(text: str) -> str:
    parse_days(text)
    return text


def _target(text: str) -> Target:
    return parse_target(text)


def _entry(text: str) -> DialplanEntry:
    return parse_entry(text)


def _backup(text: str) -> Target:
    if text.startswith("queue:"):
        raise ValueError("a queue is no backup centre: sip:…, extension:… or PJSIP/…")
    return parse_target(text)


def _window(text: object) -> Window:
    if not isinstance(text, str):
        raise ValueError("a text: HH:MM-HH:MM")  # noqa: TRY004 - pydantic reads these
    return parse_window(text)


def _key(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _dtmf(text: str) -> str:
    if text not in {"", *DTMF}:
        raise ValueError("one of 0-9 * # A-D, or empty")
    return text


def _menu_key(text: str) -> str:
    if not text:
        raise ValueError("one of 0-9 * # A-D")
    return _dtmf(text)


def _date(value: object) -> object:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise ValueError("a date: 2026-12-25") from error
    return value


def _to(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


def _any_language(value: object) -> object:
    return {"*": value} if isinstance(value, str) else value


Day = Annotated[str, AfterValidator(_days)]
Date = Annotated[date, BeforeValidator(_date)]
WindowText = Annotated[Window, PlainValidator(_window)]
Windows = Annotated[list[WindowText], BeforeValidator(listed)]
TargetText = Annotated[str, AfterValidator(_target)]
EntryText = Annotated[str, AfterValidator(_entry)]
Template = Annotated[Text, AfterValidator(check_template)]
PerLanguage = BeforeValidator(_any_language)
Seconds = Annotated[float, Field(gt=0, le=MOST_SECONDS, allow_inf_nan=False)]
KeyName = Annotated[str, BeforeValidator(_key), AfterValidator(_dtmf)]
MenuKey = Annotated[str, BeforeValidator(_key), AfterValidator(_menu_key)]


class TargetPart(Part):
    """A target that is tried only when its own condition fits. A bare text: always."""

    to: TargetText = Field(description="queue:NAME, extension:NUMBER[@CONTEXT], sip:… or PJSIP/…")
    when: When | None = Field(default=None, description="conditions, as a rule's")


class MenuPart(Part):
    """What a caller on hold is told and may choose by a key."""

    announcement: Text = Field(description="media of the PBX: sound:…")
    keys: dict[MenuKey, WayName] = Field(description="key to way out")
    every_seconds: Seconds = Field(default=20.0, description="music between announcements")
    lasts_seconds: Seconds = Field(default=120.0, description="then the next way out")


class Actions(Part):
    """What happens. A rule leaves out what its tenant's `default`, or `default`, says already."""

    pattern: PatternName | None = Field(default=None, description="how the caller is handed over")
    targets: list[Annotated[TargetPart, BeforeValidator(_to)]] | None = Field(
        default=None,
        description="whom to try, in order; the first queue among them is the dialplan's",
    )
    queue: Text | None = Field(default=None, description="the queue when nobody took the caller")
    priority: int | None = Field(default=None, ge=0, description="higher goes first")
    freeze: bool | None = Field(
        default=None, description="the bot is silent at once; only its say_first is still played"
    )
    phrases: Annotated[dict[LanguageRange, Text], PerLanguage] | None = Field(
        default=None,
        description="told on hold where the AI says nothing first: text is spoken over the music, "
        "`sound:…` is media of the PBX; the agent or the queue waits for its end; by language",
    )
    fallbacks: list[WayName] | None = Field(
        default=None,
        description="ways out, in order; nodes without Stasis skip `return_to_bot`",
    )
    ring_seconds: Seconds | None = Field(default=None, description="how long a phone rings")
    accept_seconds: Seconds | None = Field(default=None, description="how long an agent may think")
    give_up_seconds: Seconds | None = Field(
        default=None, description="then the caller goes another way"
    )
    phrase_seconds: Seconds | None = Field(
        default=None, description="how long the last phrase may take"
    )
    briefing_seconds: Seconds | None = Field(
        default=None, description="what the agent is told ends after this"
    )
    music: Text | None = Field(default=None, description="music on hold class")
    accept_key: KeyName | None = Field(
        default=None, description="key that accepts; empty: answering does"
    )
    prompt: Text | None = Field(
        default=None, description="media played to the agent who must press it"
    )
    briefing: Annotated[dict[LanguageRange, Template], PerLanguage] | None = Field(
        default=None,
        description="spoken to the agent; {slot.NAME} {customer} {summary} {reason} {intent} "
        "{language} {sentiment}; by language or one text",
    )
    voicemail: EntryText | None = Field(default=None, description="EXTENSION@CONTEXT")
    backup: Annotated[str, AfterValidator(_backup)] | None = Field(
        default=None, description="backup_centre: sip:…, extension:… or PJSIP/…"
    )
    callback: EntryText | None = Field(default=None, description="EXTENSION@CONTEXT")
    menu: MenuPart | None = Field(default=None, description="holding_menu")
    audit: bool | None = Field(default=None, description="writes an audit entry")


class RulePart(Actions):
    """The first rule whose `when` fits decides."""

    name: Text = Field(description="in logs, in Plan.rule; unique")
    use: Text | None = Field(
        default=None, description="begins with a rule that is shipped: dispute"
    )
    when: When | None = Field(default=None, description="conditions; left out: always")


class CalendarPart(Part):
    """Opening hours in local time."""

    timezone: Annotated[str, AfterValidator(_zone)] = Field(description="IANA: Europe/Berlin")
    hours: dict[Day, Windows] = Field(
        description="mon, mon-fri or daily to HH:MM-HH:MM; an end before the start is next day's"
    )
    holidays: list[Date] = Field(default_factory=list, description="closed on these dates")
    special: dict[Date, Windows] = Field(
        default_factory=dict, description="dates with times of their own; [] = closed"
    )


class QueuePart(Part):
    """What is known of a queue beforehand; who is named here may be asked for."""

    hours: Text | None = Field(default=None, description="calendar; left out: always open")
    languages: Languages | None = Field(default=None, description="spoken there; left out: every")


class AllowPart(Part):
    """Patterns; `*` and `?` stand for no separator (/ @ : ; , & = |)."""

    queue: Texts | None = Field(default=None, description="names of queues")
    extension: Texts | None = Field(default=None, description="NUMBER or NUMBER@CONTEXT")
    sip: Texts | None = Field(default=None, description="user@host, without sip:")
    endpoint: Texts | None = Field(default=None, description="PJSIP/agent-*")
    number: Texts | None = Field(
        default=None, description="+4930*: whom PlaceCall may call, besides what `sip` fits"
    )


class DestinationsPart(Part):
    """Whom an AI may ask for by name, beside those that the routes name themselves."""

    allow: AllowPart = Field(description="patterns by kind")


class TenantPart(Part):
    """What is different for one tenant; its rules are those with `when: {tenant: …}`."""

    default: Actions | None = Field(default=None, description="over the common `default`")
    destinations: DestinationsPart | None = Field(
        default=None, description="instead of the common ones"
    )


class Document(Part):
    """The whole file."""

    version: Literal[1] = Field(default=1, description="of this format")
    queue: Text | None = Field(
        default=None, description="the way out that always exists (--queue-extension)"
    )
    queue_context: Text | None = Field(
        default=None, description="its dialplan context (--queue-context)"
    )
    music: Text | None = Field(default=None, description="music on hold class (--music-class)")
    calendars: dict[str, CalendarPart] = Field(
        default_factory=dict, description="opening hours by name"
    )
    queues: dict[str, QueuePart] = Field(default_factory=dict, description="queues by name")
    destinations: DestinationsPart | None = Field(
        default=None, description="whom an AI may ask for"
    )
    default: Actions | None = Field(default=None, description="what a rule does not say")
    tenants: dict[str, TenantPart] = Field(default_factory=dict, description="by tenant")
    rules: list[RulePart] = Field(default_factory=list, description="the first that fits decides")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {} if value is None else value
