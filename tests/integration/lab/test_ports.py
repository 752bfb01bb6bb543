"""Ports of runs at the same time never meet."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from voicefork_cli.lab.errors import NoPortLeftError
from voicefork_cli.lab.ports import BLOCK, HOST, open_ports


def test_two_runs_share_no_port(tmp_path: Path) -> None:
    with open_ports(tmp_path) as one, open_ports(tmp_path) as other:
        ours = {one.single() for _ in range(BLOCK + 5)}  # more than one block
        theirs = {other.single() for _ in range(BLOCK + 5)}
        assert len(ours) == len(theirs) == BLOCK + 5
        assert not ours & theirs


def test_an_rtp_range_is_even_whole_and_nobody_elses(tmp_path: Path) -> None:
    with open_ports(tmp_path) as one, open_ports(tmp_path) as other:
        first, second = one.rtp_range(3 * BLOCK), other.rtp_range(BLOCK + 1)
        assert first.first % 2 == 0
        assert first.last - first.first + 1 == 3 * BLOCK
        assert second.last - second.first + 1 == 2 * BLOCK
        assert first.last < second.first or second.last < first.first


def test_a_port_in_use_by_a_stranger_is_passed_over(tmp_path: Path) -> None:
    with (
        open_ports(tmp_path) as ports,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        taken = ports.single() + 1
        stranger.bind((HOST, taken))
        assert ports.single() != taken


def test_ports_given_back_can_be_had_again(tmp_path: Path) -> None:
    with open_ports(tmp_path) as ports:
        most = ports.rtp_range(90 * BLOCK)
    with open_ports(tmp_path) as ports:
        assert ports.rtp_range(90 * BLOCK) == most


def test_a_range_that_was_lent_is_had_again_and_not_at_once(tmp_path: Path) -> None:
    with open_ports(tmp_path) as ports:
        with ports.lent_rtp_range(40 * BLOCK) as before, ports.lent_rtp_range(40 * BLOCK) as beside:
            assert before.last < beside.first or beside.last < before.first
        with ports.lent_rtp_range(20 * BLOCK) as after:
            assert after.first not in range(beside.first, beside.last + 1)
        with ports.lent_rtp_range(90 * BLOCK):
            pass


def test_no_free_block_is_an_error_that_leaves_nothing_locked(tmp_path: Path) -> None:
    with open_ports(tmp_path) as ports:
        with pytest.raises(NoPortLeftError):
            ports.rtp_range(100_000)
        assert ports.rtp_range(BLOCK)


def test_a_killed_run_leaves_its_ports_to_others(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\nfrom voicefork_cli.lab.ports import open_ports\n"
        "with open_ports(pathlib.Path(sys.argv[1])) as ports:\n"
        "    assert ports.rtp_range(90 * 200)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert run.returncode == -signal.SIGKILL
    with open_ports(tmp_path) as ports:
        assert ports.rtp_range(90 * BLOCK)
