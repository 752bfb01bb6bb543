"""The rules of each of the demo's patterns, as the orchestrator reads them."""

from __future__ import annotations

import json

import pytest
from voicefork.handoff.v1 import handoff_pb2
from voicefork_cli.demo.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "target", "rule"),
    [
        (Pattern.ATTENDED, "PJSIP/agent-1", {}),
        (Pattern.WHISPER, "PJSIP/agent-1", {"pattern": "warm_whisper", "accept_key": "1"}),
        (Pattern.DIALPLAN, "queue:voicefork", {"pattern": "dialplan"}),
        (Pattern.REFER, "sip:desk@example.com", {"pattern": "refer"}),
    ],
)
def test_the_rules_name_whom_to_ask_and_how(
    pattern: Pattern, target: str, rule: dict[str, str]
) -> None:
    rules = json.loads(pattern.routing("sip:desk@example.com"))
    assert rules["default"]["targets"] == [target]
    assert rules["rules"] == [{"name": "dispute", "use": "dispute", **rule}]


@pytest.mark.parametrize("pattern", Pattern)
def test_whom_nobody_takes_the_queue_takes(pattern: Pattern) -> None:
    assert pattern.outcome(answers=False) == handoff_pb2.OUTCOME_QUEUED


def test_who_takes_the_caller_out_of_the_queue_is_the_pbxs_affair() -> None:
    assert Pattern.DIALPLAN.outcome(answers=True) == handoff_pb2.OUTCOME_QUEUED
    assert Pattern.REFER.outcome(answers=True) == handoff_pb2.OUTCOME_CONNECTED
