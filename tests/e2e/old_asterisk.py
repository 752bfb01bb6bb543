"""The Asterisks that are driven by AMI alone: the usual one, and a 16 where there is one."""

from __future__ import annotations

import pytest
from voicefork_cli.lab.asterisk import Installation, find_old_asterisk

USUAL, OLD = "asterisk", "asterisk-16"
GENERATIONS = (USUAL, OLD)


def generation(name: str) -> Installation | None:
    """None: the one that is found anyway. Skips the test where there is no 16."""
    if name == USUAL:
        return None
    if (installation := find_old_asterisk()) is None:
        pytest.skip("no Asterisk 16: ASTERISK_SUITE=bullseye asterisk-root.sh FOLDER makes one")
    return installation
