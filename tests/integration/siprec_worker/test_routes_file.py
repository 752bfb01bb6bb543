"""The worker's routes are read again while it runs, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import Gauge
from siprec_worker.config import Route
from siprec_worker.errors import SetupError
from siprec_worker.net.routes_file import RoutesFile, read_routes
from siprec_worker.telemetry import Metrics

LIMIT_SECONDS = 10.0


class Taken:
    def __init__(self, path: Path) -> None:
        self.routes: tuple[Route, ...] = ()
        self.metrics = Metrics()
        self.file = RoutesFile(path, self._take, self.metrics)

    def names(self) -> list[str]:
        return [route.name for route in self.routes]

    def _take(self, routes: tuple[Route, ...]) -> None:
        if any(route.name == "unusable" for route in routes):
            raise SetupError("no such scheme")
        self.routes = routes

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not check():  # noqa: ASYNC110 - what is watched is a file
                await asyncio.sleep(0.05)


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Taken]:
    taken = Taken(path)
    task = asyncio.create_task(taken.file.watch())
    try:
        yield taken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def value(gauge: Gauge) -> float:
    (metric,) = gauge.collect()
    return metric.samples[0].value


def write(folder: Path, version: str, text: str) -> None:
    """As a kubelet updates a ConfigMap: a new folder, and one symlink moved to it."""
    fresh = folder / f"..{version}"
    fresh.mkdir()
    (fresh / "routes.yaml").write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(folder / "..data")


async def test_a_configmaps_swap_brings_the_new_routes(tmp_path: Path) -> None:
    write(tmp_path, "1", "routes: [{name: first, agents: [{url: 'grpc://a:1'}]}]")
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")

    async with watched(tmp_path / "routes.yaml") as taken:
        assert taken.names() == ["first"]
        write(tmp_path, "2", "routes: [{name: second}, {name: third}]")
        await taken.until(lambda: taken.names() == ["second", "third"])


@pytest.mark.parametrize(
    "wrong", ["routes: [", "routes: [{nam: x}]", "other: 1", "routes: [{name: unusable}]", "- 1"]
)
async def test_a_wrong_file_keeps_the_old_routes_and_says_so(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{name: good}]")

    async with watched(path) as taken:
        path.write_text(wrong)
        await taken.until(lambda: value(taken.metrics.routes_stale) == 1)
        assert taken.names() == ["good"]
        path.write_text("routes: [{name: better}]")
        await taken.until(lambda: taken.names() == ["better"])
        assert value(taken.metrics.routes_stale) == 0


@pytest.mark.parametrize(
    "wrong", ["routes: [", "routes: [{nam: x}]", "- 1", "routes: 1", "!!bool x"]
)
def test_a_wrong_file_at_the_start_is_an_error_that_names_it(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(wrong)

    with pytest.raises(SetupError, match=r"routes\.yaml"):
        read_routes(path)


def test_no_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        read_routes(tmp_path / "none.yaml")
