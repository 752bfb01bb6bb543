"""What every test shares: the marker of its folder, and the material outside the checkout."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from voicefork_cli.lab.processes import Lab, open_lab

TESTS = Path(__file__).parent
# An assertion outside of test_*.py says what it compared, too.
pytest.register_assert_rewrite(*(f"tests.{each.name}" for each in TESTS.iterdir() if each.is_dir()))
MARKERS = {
    "unit": "unit",
    "integration": "integration",
    "e2e": "e2e",
    "opensips": "e2e",
    "chart": "chart",
    "images": "images",
    "cluster": "cluster",
}
PURE = {"unit", "chart"}
"""Folders whose tests know no clock. The others run real programs in real time, on machines that
others use, too: a test that fails there is run again, twice at most, and each time shows as R."""
FAILED = pytest.StashKey[bool]()

# How long an example takes says what else the machine does: hypothesis would fail a test that was
# stopped for 0.2 s, and one whose inputs were slow to make.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test after its folder, so that no test can be in no category, or in a wrong one.

    Raises:
        pytest.UsageError: a test stands outside the folders that have a meaning.
    """
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder not in MARKERS:
            raise pytest.UsageError(f"{item.path}: a test lives in one of tests/{sorted(MARKERS)}")
        item.add_marker(MARKERS[folder])
        if folder not in PURE:
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of captures and vendors' messages: VOICEFORK_SHARED, else `../shared`, or skip."""
    beside_the_checkout = TESTS.parent.parent / "shared"
    folder = Path(os.environ.get("VOICEFORK_SHARED", beside_the_checkout))
    if not folder.is_dir():
        pytest.skip("no shared material: set VOICEFORK_SHARED, or put it beside the checkout")
    return folder


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remembers a failure, so that `lab` keeps the logs of what it started."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A run folder, ports and a reaper for real programs; a failed test keeps its folder."""
    async with open_lab(keep=True) as lab:
        yield lab
    if request.node.stash.get(FAILED, False):
        request.config.get_terminal_writer().line(f"\n{request.node.nodeid}: logs in {lab.folder}")
    else:
        shutil.rmtree(lab.folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were run again: their last attempt's reasons alone would be shown."""
    reports: list[pytest.TestReport] = terminalreporter.stats.get("rerun", [])
    for report in reports:
        lines = report.longreprtext.splitlines()
        marked = [line for line in lines if line.lstrip("| ").startswith("E  ")] or lines[-12:]
        terminalreporter.write_line(f"\n{report.nodeid} ({report.when}) was run again after")
        terminalreporter.write_line("\n".join(marked[:12]))
