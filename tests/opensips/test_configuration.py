"""OpenSIPS itself reads the configuration, with as few values as there can be and with all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from render import render
from voicefork_cli.lab.opensips import find_opensips, release_of

from tests.builders.edge_values import MAXIMAL, MINIMAL


@pytest.fixture
def rendered(tmp_path: Path) -> Callable[[Mapping[str, object]], Path]:
    binary, modules = find_opensips()
    ours = {"modules": str(modules), "release": release_of(binary), "mi": f"{tmp_path}/mi"}

    def render_it(values: Mapping[str, object]) -> Path:
        return render({**ours, **values}, tmp_path)

    return render_it


@pytest.mark.parametrize("values", [MINIMAL, MAXIMAL], ids=["minimal", "maximal"])
def test_opensips_finds_no_fault(
    rendered: Callable[[Mapping[str, object]], Path], values: Mapping[str, object]
) -> None:
    binary, _ = find_opensips()
    argv = [str(binary), "-C", "-f", str(rendered(values))]
    checked = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    faults = [line for line in checked.stderr.splitlines() if "ERROR" in line or "CRIT" in line]
    assert faults == []
    assert checked.returncode == 0
