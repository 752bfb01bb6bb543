"""Templates are filled in completely, and leave the languages they are written in alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from voicefork_cli.lab.templates import fill, render_folder, shipped


def test_a_place_gets_its_value() -> None:
    assert fill("bind=@HOST@:@SIP_PORT@", {"HOST": "127.0.0.1", "SIP_PORT": 5060}) == (
        "bind=127.0.0.1:5060"
    )


def test_asterisks_and_opensips_own_signs_are_left_alone() -> None:
    text = "Set(X=${EXTEN}) member@default sip:edge@example $var(x) a@b@c"
    assert fill(text, {}) == text


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="HOST"):
        fill("@HOST@", {})


def test_a_value_may_contain_what_looks_like_a_place() -> None:
    assert fill("@A@", {"A": "@B@"}) == "@B@"


def test_a_folder_is_rendered_file_by_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError):  # every template of the folder is looked at
        render_folder("asterisk", tmp_path, {})


def test_what_is_shipped_is_found_from_the_checkout() -> None:
    assert (shipped("deploy/asterisk") / "extensions-voicefork.conf").is_file()
