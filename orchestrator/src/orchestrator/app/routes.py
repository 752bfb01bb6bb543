"""`voicefork routes`: checks a routes file, and tells which rule decides, and why.

    python -m orchestrator.app.routes check FILE
    python -m orchestrator.app.routes test --file FILE --intent dispute --at 2026-12-24T19:00
    python -m orchestrator.app.routes keys

Exit codes: 0 it is right; 1 the routes refuse the target that is asked for; 2 the file, or what was
given here, is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from orchestrator.errors import SetupError
from orchestrator.model import (
    CallId,
    Context,
    Escalation,
    Pattern,
    QueueState,
    Speaker,
    TranscriptLine,
)
from orchestrator.routing.explanation import as_json, told
from orchestrator.routing.keys import key_table
from orchestrator.routing.parsing import default_table, parse_table
from orchestrator.routing.policy import DestinationRefused, decide
from orchestrator.routing.situation import Situation
from orchestrator.routing.table import RoutingTable
from orchestrator.routing.targets import parse_target

EXIT_REFUSED, EXIT_WRONG = 1, 2
_STATES = {"members": int, "available": int, "waiting": int, "wait": float}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except (SetupError, ValueError) as error:
        return _complain(str(error), EXIT_WRONG)


def _check(given: argparse.Namespace) -> int:
    table = _table(given.file, without_stasis=given.without_stasis)
    names = ", ".join(rule.name for rule in table.rules) or "none"
    _say(f"{given.file}: {len(table.rules)} rules: {names}")
    if not any(rule.changes.get("freeze") for rule in table.rules):
        _say("note: no rule freezes the bot; `use: dispute` brings one")
    return 0


def _test(given: argparse.Namespace) -> int:
    table = _table(given.file)
    situation = Situation(
        now=_moment(given.at, given.zone),
        tenant=given.tenant,
        caller=given.caller,
        queues=_queues(given.queue),
    )
    try:
        decision = decide(_escalation(given), table, situation)
    except DestinationRefused as refused:
        return _complain(str(refused), EXIT_REFUSED)
    _say(json.dumps(as_json(decision), indent=2) if given.json else told(decision))
    return 0


def _keys(_: argparse.Namespace) -> int:
    _say(key_table())
    return 0


def _table(path: Path | None, *, without_stasis: bool = False) -> RoutingTable:
    if path is None:
        return default_table([], queue_context="voicefork-queue", queue="s")
    try:
        return parse_table(path.read_bytes(), RoutingTable(), without_stasis=without_stasis)
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror or error}") from error


def _escalation(given: argparse.Namespace) -> Escalation:
    said = tuple(TranscriptLine(Speaker.CUSTOMER, line) for line in given.said)
    slots = dict(_pair(each, "--slot") for each in given.slot)
    return Escalation(
        request_id="test",
        call_id=CallId("test"),
        reason=given.reason,
        intent=given.intent,
        confidence=given.confidence,
        language=given.language,
        priority=given.priority,
        pattern=Pattern[given.pattern.upper()],
        target=parse_target(given.target) if given.target else None,
        context=Context(
            summary=given.summary,
            transcript_tail=said,
            slots={name: yaml.safe_load(value) for name, value in slots.items()},
            customer_reference=given.customer,
            sentiment=given.sentiment,
        ),
    )


def _moment(text: str, zone: str) -> datetime:
    """Without an offset: of --zone. Raises ValueError."""
    if not text:
        return datetime.now(UTC)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))


def _queues(texts: Sequence[str]) -> dict[str, QueueState]:
    """support:members=0,waiting=3. Raises ValueError."""
    states: dict[str, QueueState] = {}
    for text in texts:
        name, _, rest = text.partition(":")
        state = states.get(name, QueueState(name))
        for each in rest.split(","):
            key, value = _pair(each, "--queue")
            if key not in _STATES:
                raise ValueError(f"--queue {text}: NAME:KEY=NUMBER, KEY of {', '.join(_STATES)}")
            field = "expected_wait" if key == "wait" else key
            state = replace(state, **{field: _STATES[key](value)})
        states[name] = state
    return states


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"{option} {text}: NAME=VALUE is expected")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voicefork routes", description="The rules that decide who gets a caller."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="is a routes file right?")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--without-stasis", action="store_true", help="for orchestrators with --ami-nodes, too"
    )
    check.set_defaults(run=_check)
    keys = commands.add_parser("keys", help="every key of the file, as a table")
    keys.set_defaults(run=_keys)
    test = commands.add_parser("test", help="which rule wins, and why?")
    test.set_defaults(run=_test)
    test.add_argument("--file", type=Path, help="left out: the rules that are shipped")
    test.add_argument("--json", action="store_true", help="for programs")
    test.add_argument("--intent", default="", help="what the AI says it is about")
    test.add_argument("--confidence", type=float, help="how sure it is, 0 to 1")
    test.add_argument("--language", default="", help="BCP 47: de-CH")
    test.add_argument("--at", default="", help="2026-12-24T19:00[+01:00]; left out: now")
    test.add_argument("--zone", default="UTC", help="of --at where it says no offset")
    test.add_argument("--tenant", default="default")
    test.add_argument("--caller", default="", help="number; left out: withheld")
    test.add_argument("--slot", action="append", default=[], help="NAME=VALUE; again for more")
    test.add_argument("--queue", action="append", default=[], help="NAME:members=0,waiting=3")
    test.add_argument("--sentiment", default="")
    test.add_argument("--priority", type=int, default=0, help="that is asked for")
    test.add_argument("--reason", default="", help="what the AI gives as reason")
    test.add_argument("--summary", default="", help="of the call so far")
    test.add_argument("--said", action="append", default=[], help="a line of the caller's")
    test.add_argument("--customer", default="", help="customer reference")
    test.add_argument("--target", default="", help="that is asked for: queue:…, PJSIP/…")
    patterns = [pattern.name.lower() for pattern in Pattern]
    test.add_argument("--pattern", default="auto", choices=patterns, help="that is asked for")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
