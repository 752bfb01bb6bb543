"""How a fuzz target runs: `python -m tests.fuzz.sip FOLDER... -max_total_time=SECONDS`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris


def run(target: Callable[[bytes], None]) -> None:
    """Feeds `target` until the time is up or it raises. The arguments are libFuzzer's.

    20 s for one input is a hang: less may be the machine's, as this runs beside everything else.
    """
    atheris.Setup([*sys.argv, "-timeout=20", "-rss_limit_mb=2048"], target)
    atheris.Fuzz()
