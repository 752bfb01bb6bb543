"""Prints how many cases of the public corpus, and of the forms written here, are right."""

from __future__ import annotations

import re

from _pytest.terminal import TerminalReporter

_COUNTED = {
    "interop corpus": re.compile(r"interop/test_(?:\w+_corpus|worker_transports)\.py"),
    "interop forms": re.compile(r"interop/test_(?:forms|messages|flows)\.py"),
}


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    for name, files in _COUNTED.items():

        def count(outcome: str, files: re.Pattern[str] = files) -> int:
            reports = terminalreporter.stats.get(outcome, [])
            return sum(files.search(getattr(r, "nodeid", "")) is not None for r in reports)

        right, known = count("passed"), count("xfailed")
        if total := right + known + count("failed"):
            text = f"{name}: {right} of {total} right, {known} known to be wrong"
            terminalreporter.write_line(text)
