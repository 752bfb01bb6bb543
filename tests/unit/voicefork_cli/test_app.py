"""The `voicefork` command's frame."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner
from voicefork_cli.app import app


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["sim", "--help"],
        ["sim", "load", "--help"],
        ["demo", "--help"],
        ["context", "--help"],
    ],
)
def test_every_command_explains_itself(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_the_version_of_every_part_is_told() -> None:
    lines = CliRunner().invoke(app, ["version"]).output.splitlines()
    assert [line.split()[0] for line in lines] == [
        "voicefork-cli",
        "voicefork-worker",
        "voicefork-orchestrator",
        "voicefork-sdk",
        "voicefork-proto",
    ]


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--worker", "nonsense"], "write it as sip:127.0.0.1:5080"),
        (["--codec", "OPUS"], "take one of PCMU, PCMA"),
    ],
)
def test_a_wrong_option_says_what_would_be_right(arguments: list[str], advice: str) -> None:
    result = CliRunner().invoke(app, ["sim", "call", *arguments])
    assert result.exit_code == 1
    assert advice in result.output


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--agent", "asleep"], "--agent is one of answer, busy, decline, noanswer"),
        (["--pattern", "shout"], "--pattern is one of attended, whisper, dialplan, refer"),
        (["--story", "novel"], "--story is one of dispute, question"),
    ],
)
def test_a_demo_that_does_not_exist_names_those_that_do(arguments: list[str], advice: str) -> None:
    result = CliRunner().invoke(app, ["demo", *arguments])
    assert result.exit_code == 1
    assert advice in result.output
