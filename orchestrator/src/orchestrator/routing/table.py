"""The routing rules as values, and how they are read from YAML.

queue: s                    # the way out that always exists: an extension of queue_context;
queue_context: voicefork-queue    # these three: usually as by --queue-extension, --queue-context
music: default                    # and --music-class
default:                    # what a rule does not say is taken from here
  pattern: attended         # or dialplan
  targets: [PJSIP/alice, "extension:200@internal", "sip:desk@example.com", "queue:support"]
  accept_key: "1"
  prompt: sound:queue-callswaiting
  ring_seconds: 30
  accept_seconds: 15
  give_up_seconds: 90
  fallbacks: [next_target, return_to_bot]
rules:                      # the first that fits decides
  - name: dispute
    intents: [dispute, chargeback, unauthorised]
    min_priority: 0
    freeze: true
    priority: 9
    queue: fraud
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from orchestrator.errors import SetupError
from orchestrator.model import Endpoint, Extension, Fallback, Limits, Pattern, Queue, SipUri, Target

LIMITS = Limits()
DTMF = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to an escalation."""

    pattern: Pattern = Pattern.ATTENDED
    targets: tuple[Target, ...] = ()
    queue: str = "s"
    accept_key: str = ""
    prompt: str = ""
    priority: int = 0
    freeze: bool = False
    limits: Limits = LIMITS
    fallbacks: tuple[Fallback, ...] = (Fallback.NEXT_TARGET,)


@dataclass(frozen=True, slots=True)
class Rule:
    """Fits an escalation of one of `intents` (none = any) with at least `min_priority`."""

    name: str
    treatment: Treatment
    intents: frozenset[str] = frozenset()
    min_priority: int = 0

    def fits(self, intent: str, priority: int) -> bool:
        known = not self.intents or intent.casefold() in self.intents
        return known and priority >= self.min_priority


@dataclass(frozen=True, slots=True)
class RoutingTable:
    default: Treatment = Treatment()
    rules: tuple[Rule, ...] = ()
    queue_context: str = "voicefork-queue"
    music: str = "default"


DISPUTE_INTENTS = frozenset({"dispute", "chargeback", "unauthorised", "unauthorized"})


def default_table(
    targets: Sequence[Target], *, queue_context: str, queue: str, music: str = "default"
) -> RoutingTable:
    """Without a file: everybody to `targets`, attended; a dispute freezes the bot."""
    usual = Treatment(targets=tuple(targets), queue=queue)
    dispute = Rule("dispute", replace(usual, freeze=True, priority=9), DISPUTE_INTENTS)
    return RoutingTable(usual, (dispute,), queue_context, music or "default")


def parse_table(text: str, usual: RoutingTable) -> RoutingTable:
    """Reads the YAML above; queue, its context and music are `usual`'s where it does not say.

    Raises SetupError that names the wrong place.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SetupError(f"routing: {error}") from error
    top = _Section("routing", document)
    queue, music = top.text("queue", usual.default.queue), top.text("music", usual.music)
    default = _treatment(top.section("default"), Treatment(queue=queue))
    rules = tuple(_rule(section, default) for section in top.sections("rules"))
    context = top.text("queue_context", usual.queue_context)
    top.nothing_else()
    return RoutingTable(default, rules, context, music)


def parse_target(text: str) -> Target:
    """queue:NAME, extension:NUMBER[@CONTEXT], sip:…, or TECH/endpoint. Raises ValueError."""
    scheme, _, rest = text.partition(":")
    if scheme == "queue" and rest:
        return Queue(rest)
    if scheme == "extension" and rest:
        number, _, context = rest.partition("@")
        return Extension(number, context)
    if scheme in {"sip", "sips"} and rest:
        return SipUri(text)
    technology, slash, name = text.partition("/")
    if slash and technology and name:
        return Endpoint(text)
    raise ValueError(f"{text!r} is no target: queue:…, extension:…, sip:… or PJSIP/…")


def _rule(section: _Section, default: Treatment) -> Rule:
    name = section.text("name", "")
    intents = frozenset(intent.casefold() for intent in section.texts("intents", ()))
    minimum = section.number("min_priority", 0)
    if not name:
        raise section.wrong("name", "missing")
    return Rule(name, _treatment(section, default), intents, int(minimum))


def _treatment(section: _Section, usual: Treatment) -> Treatment:
    limits = usual.limits
    treatment = Treatment(
        pattern=_pattern(section, usual.pattern),
        targets=_targets(section, usual.targets),
        queue=section.text("queue", usual.queue),
        accept_key=section.text("accept_key", usual.accept_key),
        prompt=section.text("prompt", usual.prompt),
        priority=int(section.number("priority", usual.priority)),
        freeze=section.flag("freeze", usual.freeze),
        limits=replace(
            limits,
            ring=section.number("ring_seconds", limits.ring),
            accept=section.number("accept_seconds", limits.accept),
            give_up=section.number("give_up_seconds", limits.give_up),
            phrase=section.number("phrase_seconds", limits.phrase),
        ),
        fallbacks=_fallbacks(section, usual.fallbacks),
    )
    if treatment.accept_key and treatment.accept_key not in DTMF:
        raise section.wrong("accept_key", "one of 0-9 * # A-D")
    section.nothing_else()
    return treatment


def _pattern(section: _Section, usual: Pattern) -> Pattern:
    known = {"attended": Pattern.ATTENDED, "dialplan": Pattern.DIALPLAN}
    text = section.text("pattern", usual.name.lower())
    if text not in known:
        raise section.wrong("pattern", f"one of {sorted(known)}")
    return known[text]


def _targets(section: _Section, usual: tuple[Target, ...]) -> tuple[Target, ...]:
    try:
        given = section.texts("targets", None)
        return usual if given is None else tuple(parse_target(text) for text in given)
    except ValueError as error:
        raise section.wrong("targets", str(error)) from error


def _fallbacks(section: _Section, usual: tuple[Fallback, ...]) -> tuple[Fallback, ...]:
    given = section.texts("fallbacks", None)
    known = {way.name.lower(): way for way in Fallback}
    if given is None:
        return usual
    if unknown := [way for way in given if way not in known]:
        raise section.wrong("fallbacks", f"{unknown} not of {sorted(known)}")
    return tuple(known[way] for way in given)


class _Section:
    """A mapping of the file, read key by key; what is not read in the end is a mistake."""

    def __init__(self, where: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise SetupError(f"{where}: a mapping is expected")
        self._where = where
        self._value = value
        self._read: set[str] = set()

    def wrong(self, key: str, why: str) -> SetupError:
        return SetupError(f"{self._where}.{key}: {why}")

    def text(self, key: str, usual: str) -> str:
        value = self._get(key, usual)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # accept_key: 1
        if not isinstance(value, str):
            raise self.wrong(key, "a text is expected")
        return value

    def texts(self, key: str, usual: Any) -> Any:
        value = self._get(key, usual)
        if value is not usual and (
            not isinstance(value, list) or not all(isinstance(item, str) for item in value)
        ):
            raise self.wrong(key, "a list of texts is expected")
        return value

    def number(self, key: str, usual: float) -> float:
        value = self._get(key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise self.wrong(key, "a number of at least 0 is expected")
        return value

    def flag(self, key: str, usual: bool) -> bool:
        value = self._get(key, usual)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false is expected")
        return value

    def section(self, key: str) -> _Section:
        return _Section(f"{self._where}.{key}", self._get(key, {}))

    def sections(self, key: str) -> list[_Section]:
        value = self._get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "a list is expected")
        return [_Section(f"{self._where}.{key}[{i}]", item) for i, item in enumerate(value)]

    def nothing_else(self) -> None:
        if unknown := sorted(str(key) for key in self._value if key not in self._read):
            raise SetupError(f"{self._where}: unknown {', '.join(unknown)}")

    def _get(self, key: str, usual: Any) -> Any:
        self._read.add(key)
        value = self._value.get(key)
        return usual if value is None else value
