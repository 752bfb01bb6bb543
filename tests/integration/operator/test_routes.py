"""`voicefork routes`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "deploy" / "routing.yaml"


def routes(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voicefork_cli", "routes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def test_the_example_is_right() -> None:
    done = routes("check", str(EXAMPLE))
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 rules: dispute, large refund" in done.stdout


def test_a_wrong_file_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text("version: 1\nrules:\n  - name: a\n    when: {confidence: 7}\n")
    done = routes("check", str(file))
    assert done.returncode == 2
    assert "line 4: rules[0].when.confidence: found 7; allowed: less than" in done.stderr


def test_rules_that_nodes_without_stasis_cannot_follow_are_told_where_asked(tmp_path: Path) -> None:
    file = tmp_path / "routing.yaml"
    file.write_text("version: 1\nrules:\n  - use: dispute\n    fallbacks: [return_to_bot]\n")
    done = routes("check", "--without-stasis", str(file))
    assert done.returncode == 2
    assert "line 4: rules[0].fallbacks: found return_to_bot alone" in done.stderr


def test_which_rule_wins_is_told_with_what_the_others_missed() -> None:
    done = routes(
        *("test", "--file", str(EXAMPLE), "--json", "--intent", "billing", "--language", "de"),
        *("--at", "2026-11-23T10:00", "--zone", "Europe/Berlin", "--sentiment", "angry"),
        *("--queue", "billing:available=1,wait=90", "--slot", "amount=20"),
    )
    told = json.loads(done.stdout)
    assert told["rule"] == "angry, and somebody is free"
    assert [rule["fits"] for rule in told["rules"]] == [False, False, True]
    missed = [each for each in told["rules"][1]["conditions"] if not each["met"]]
    assert [(each["what"], each["found"]) for each in missed] == [
        ("intent", "billing"),
        ("confidence", "not known"),
        ("slots.amount", "20"),
    ]
    assert (told["plan"]["pattern"], told["plan"]["queue_name"]) == ("dialplan", "billing")


def test_the_shipped_dispute_rule_needs_no_file() -> None:
    done = routes("test", "--said", "I want a chargeback")
    assert "rule         dispute" in done.stdout
    assert "freeze_bot   yes" in done.stdout


def test_a_target_that_is_not_allowed_is_refused() -> None:
    done = routes("test", "--file", str(EXAMPLE), "--target", "sip:+900123@premium.example")
    assert done.returncode == 1
    assert "destinations.allow" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "shown"), [(("--help",), "check"), (("test", "--help"), "--sentiment")]
)
def test_it_explains_itself(arguments: tuple[str, ...], shown: str) -> None:
    assert shown in routes(*arguments).stdout


def test_a_wrong_option_ends_with_2() -> None:
    assert routes("test", "--queue", "nonsense").returncode == 2
