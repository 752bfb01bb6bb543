"""The routes file followed while it changes: by looks through symlinks, and by SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.builders.routes import GOOD, names, put, routes_of, stale
from tests.builders.running import owned
from tests.builders.virtual_time import eventually


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routing.yaml"
    path.write_text(GOOD)
    return path


def swap(folder: Path, version: str, text: str) -> None:
    """As a kubelet does: a new folder, then `..data` points to it in one step."""
    new = folder / version
    new.mkdir()
    (new / "routing.yaml").write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(version)
    os.replace(link, folder / "..data")


async def test_the_swap_of_a_config_map_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.app.routes_file.LOOK_SECONDS", 0.01)
    swap(tmp_path, "..2026_1", GOOD)
    path = tmp_path / "routing.yaml"
    path.symlink_to("..data/routing.yaml")
    routes = routes_of(path)
    async with owned(routes.watch()):
        swap(tmp_path, "..2026_2", "rules: [{name: other}]")
        await eventually(lambda: names(routes) == ["other"])


async def test_a_bad_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.app.routes_file.LOOK_SECONDS", 0.01)
    routes = routes_of(file)
    async with owned(routes.watch()):
        put(file, "version: 2")
        await eventually(lambda: stale(routes) == 1)
        for _ in range(5):
            await asyncio.sleep(0.01)
    sample = routes._metrics.registry.get_sample_value
    assert sample("voicefork_routes_loads_total", {"result": "refused"}) == 1


async def test_a_hangup_signal_reads_it_at_once(file: Path) -> None:
    routes = routes_of(file)
    async with owned(routes.watch()):
        put(file, "rules: [{name: asked}]")
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: names(routes) == ["asked"])
