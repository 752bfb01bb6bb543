"""Settings: flags before the environment before the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from orchestrator.config import Answer, Waiting, load
from orchestrator.errors import SetupError


def test_it_runs_without_any_setting() -> None:
    settings = load([], {})
    assert settings.waiting is Waiting.MUSIC
    assert settings.answer is Answer.FIRST


def test_a_flag_counts_more_than_the_environment_and_that_more_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "voicefork.yaml"
    file.write_text("node: file\napp: file\nqueue_context: file\n")
    monkeypatch.setenv("VOICEFORK_NODE", "environment")
    monkeypatch.setenv("VOICEFORK_APP", "environment")
    settings = load(["--config", str(file), "--node", "flag"], {})
    assert (settings.node, settings.app, settings.queue_context) == ("flag", "environment", "file")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--grpc", "nonsense"],
        ["--admin", "127.0.0.1:99999"],
        ["--waiting", "silence"],
        ["--grpc-cert", "a.pem"],
        ["--grpc-ca", "ca.pem"],
        ["--grpc", "0.0.0.0:7070"],
        ["--config", "/nowhere.yaml"],
    ],
)
def test_a_wrong_setting_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SetupError):
        load(arguments, {})


def test_the_password_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert load(["--ari-password-file", str(file)], {}).password() == "secret"


def test_a_password_is_never_shown() -> None:
    settings = load(["--ari-password", "secret"], {})
    assert "secret" not in repr(settings)
