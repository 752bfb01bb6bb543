"""An OpenSIPS of our own on loopback, with the configuration as it is shipped, where there is one.

OpenSIPS is in no Debian or Ubuntu suite, so it may be missing: OPENSIPS_BIN names the binary (else
`opensips` on PATH), OPENSIPS_MODULES the folder of its modules (else the usual ones).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from voicefork_cli.lab.errors import LabError, MissingProgramError
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running
from voicefork_cli.lab.templates import shipped

READY_SECONDS = 30.0
# OpenSIPS 3.6.8 aborts when it is ended within seconds of a forked call; it is ended all the same.
GRACE_SECONDS = 1.0
MODULES = (
    "/usr/lib/*/opensips/modules",
    "/usr/lib64/opensips/modules",
    "/usr/local/lib*/opensips/modules",
)
NEEDED = tuple(
    f"{name}.so"
    for name in (
        *("acc", "b2b_entities", "cachedb_local", "cachedb_redis", "cfgutils", "db_text", "httpd"),
        *("dispatcher", "event_datagram", "event_routing", "nathelper", "permissions", "pike"),
        *("prometheus", "ratelimit", "rtp_relay", "rtpengine", "siprec", "statistics"),
        *("topology_hiding", "uuid"),
    )
)


@dataclass(frozen=True, slots=True)
class OpenSipsPlan:
    """Who is around it: addresses are host:port, `workers` in the order in which they are tried.

    `values` are added to those of opensips/README.md, and win. A second edge needs another `name`.
    """

    pbx: str
    carrier: str
    rtpengine: str
    workers: Sequence[str]
    tenant: str = "default"
    name: str = "opensips"
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenSipsHome:
    """A rendered configuration: where it takes SIP (UDP and TCP), its metrics, its MI FIFO."""

    name: str
    sip: str
    metrics: str
    mi: Path
    config: Path


@dataclass(frozen=True, slots=True)
class OpenSips:
    """A running OpenSIPS: where it takes SIP (host:port, UDP and TCP)."""

    sip: str
    home: OpenSipsHome
    program: Running


def find_opensips() -> tuple[Path, Path]:
    """The binary and its modules' folder.

    Raises:
        MissingProgramError: there is none, or it lacks a module.
    """
    binary = os.environ.get("OPENSIPS_BIN") or shutil.which("opensips", path=_search_path())
    if not binary or not Path(binary).is_file():
        raise MissingProgramError("opensips", "put it on PATH, or name it in OPENSIPS_BIN")
    named = os.environ.get("OPENSIPS_MODULES")
    folders = [Path(named)] if named else [p for glob in MODULES for p in Path("/").glob(glob[1:])]
    for folder in folders:
        if all((folder / module).is_file() for module in NEEDED):
            return Path(binary), folder
    raise MissingProgramError("opensips' siprec modules", "name their folder in OPENSIPS_MODULES")


def release_of(binary: Path) -> str:
    """Its release as opensips/render.py knows them: "3.6" or "4.0"."""
    argv = [str(binary), "-V"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    return "3.6" if "opensips 3." in shown.stdout else "4.0"


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"


@asynccontextmanager
async def open_opensips(lab: Lab, plan: OpenSipsPlan) -> AsyncIterator[OpenSips]:
    """Runs an OpenSIPS while the block runs.

    Raises:
        MissingProgramError: it is not installed.
    """
    async with run_opensips(lab, render_opensips(lab, plan)) as opensips:
        yield opensips


@asynccontextmanager
async def run_opensips(lab: Lab, home: OpenSipsHome) -> AsyncIterator[OpenSips]:
    """Runs an OpenSIPS with a configuration; again with the same one it is a restart."""
    binary, _ = find_opensips()
    argv = [binary, "-F", "-f", home.config, "-m", "64", "-M", "8"]
    async with lab.program(home.name, argv, grace_seconds=GRACE_SECONDS) as program:

        async def answers() -> bool | None:
            async with asyncio.timeout(0.2):  # UDP: an early question is lost
                host, _, port = home.sip.rpartition(":")
                _, tcp = await asyncio.open_connection(host, int(port))  # it comes a little later
                tcp.close()
                return await _options_answered(home.sip)

        await program.wait_until(answers, READY_SECONDS)
        yield OpenSips(home.sip, home, program)


def render_opensips(lab: Lab, plan: OpenSipsPlan) -> OpenSipsHome:
    """Writes the shipped configuration with the plan's values, as owners do, by its render.py.

    Raises:
        MissingProgramError: there is no OpenSIPS.
        LabError: the values are not usable.
    """
    binary, modules = find_opensips()
    folder = lab.folder / plan.name
    folder.mkdir(exist_ok=True)
    sip, metrics = (f"{HOST}:{lab.ports.single()}" for _ in range(2))
    trunk = {
        **{"name": "carrier", "sources": ["127.0.0.0/8"], "tenant": plan.tenant},
        **{"out": f"sip:{plan.carrier}", "calls_per_second": 1000},
    }
    values = {
        **{"sip": sip, "metrics": metrics, "mi": str(folder / "mi"), "modules": str(modules)},
        **{"udp_workers": 2, "tcp_workers": 2, "calls_per_second": 1000, "trunks": [trunk]},
        "release": release_of(binary),
        "pbx": [{"address": plan.pbx, "sources": [plan.pbx]}],
        "rtpengines": [plan.rtpengine],
        "workers": [f"sip:{worker};transport=tcp" for worker in plan.workers],
        "emergency": ["110", "112", "911", "999"],
        **plan.values,
    }
    (folder / "values.json").write_text(json.dumps(values))
    script = str(shipped("opensips") / "render.py")
    argv = [sys.executable, script, str(folder / "values.json"), str(folder)]
    rendered = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    if rendered.returncode:
        raise LabError(rendered.stderr)
    sip, metrics = str(values["sip"]), str(values["metrics"])
    return OpenSipsHome(plan.name, sip, metrics, folder / "mi", folder / "opensips.cfg")


async def _options_answered(sip: str) -> bool | None:
    loop = asyncio.get_running_loop()
    host, _, port = sip.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect((host, int(port)))
        here = "{}:{}".format(*probe.getsockname())
        await loop.sock_sendall(
            probe,
            f"OPTIONS sip:{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKlab;rport\r\n"
            f"From: <sip:lab@{here}>;tag=lab\r\nTo: <sip:{sip}>\r\nCall-ID: lab-{here}\r\n"
            f"CSeq: 1 OPTIONS\r\nMax-Forwards: 5\r\nContent-Length: 0\r\n\r\n".encode(),
        )
        return (await loop.sock_recv(probe, 2000)).startswith(b"SIP/2.0 200") or None
