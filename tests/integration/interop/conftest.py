"""Prints how many cases of the public corpus are right."""

from __future__ import annotations

import re

from _pytest.terminal import TerminalReporter

_CORPUS = re.compile(r"interop/test_(?:siprec|torture|worker)_corpus\.py")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    def count(outcome: str) -> int:
        reports = terminalreporter.stats.get(outcome, [])
        return sum(_CORPUS.search(getattr(report, "nodeid", "")) is not None for report in reports)

    right, known = count("passed"), count("xfailed")
    total = right + known + count("failed")
    if total:
        terminalreporter.write_line(
            f"interop corpus: {right} of {total} right, {known} known to be wrong"
        )
