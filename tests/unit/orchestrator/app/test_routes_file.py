"""The routes in force while their file changes: a bad one changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator.app.routes_file import open_routes
from orchestrator.config import load
from orchestrator.errors import SetupError
from orchestrator.telemetry import Metrics

from tests.builders.routes import GOOD, names, put, routes_of, stale


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text(GOOD)
    return path


async def test_a_changed_file_is_in_force(file: Path) -> None:
    routes = routes_of(file)
    put(file, "rules: [{name: second}]")
    assert await routes.reload()
    assert names(routes) == ["second"]


async def test_a_bad_file_leaves_the_old_rules_and_says_why(file: Path) -> None:
    routes = routes_of(file)
    put(file, "rules: [{name: second, freeze: maybe}]")
    assert not await routes.reload()
    report = routes.report()
    assert (names(routes), report["rules"]) == (["first"], ["first"])
    assert "rules[0].freeze: found 'maybe'" in str(report["error"])
    assert stale(routes) == 1


async def test_a_file_that_is_right_again_is_in_force(file: Path) -> None:
    routes = routes_of(file)
    put(file, None)
    assert not await routes.reload()
    assert "No such file" in str(routes.report()["error"])
    put(file, "rules: [{name: third}]")
    assert await routes.reload()
    assert (names(routes), routes.report()["error"], stale(routes)) == (["third"], None, 0)


def test_at_the_start_a_bad_file_is_an_error(file: Path) -> None:
    put(file, "version: 7")
    with pytest.raises(SetupError, match="line 1: version: found 7; allowed: 1"):
        open_routes(load(["--routing", str(file)], {}), Metrics())


def test_without_a_file_there_are_the_shipped_rules() -> None:
    routes = open_routes(load(["--target", "PJSIP/a"], {}), Metrics())
    assert names(routes) == ["dispute"]
    assert routes.report()["file"] is None


@settings(max_examples=60, deadline=None)
@given(content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_never_raise_and_never_lose_the_rules(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "routing.yaml"
        path.write_text(GOOD)
        routes = routes_of(path)
        before = routes.table
        path.write_bytes(content)
        if asyncio.run(routes.reload()):
            assert routes.report()["error"] is None
        else:
            assert routes.table is before
            assert routes.report()["error"]
