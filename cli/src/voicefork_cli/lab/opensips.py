"""An OpenSIPS of our own on loopback, with the configuration as it is shipped, where there is one.

OpenSIPS is in no Debian or Ubuntu suite, so it may be missing: OPENSIPS_BIN names the binary (else
`opensips` on PATH), OPENSIPS_MODULES the folder of its modules (else the usual ones).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running
from voicefork_cli.lab.templates import fill, shipped

READY_SECONDS = 10.0
# OpenSIPS 3.6.8 aborts when it is ended within seconds of a forked call; it is ended all the same.
GRACE_SECONDS = 1.0
MODULES = (
    "/usr/lib/*/opensips/modules",
    "/usr/lib64/opensips/modules",
    "/usr/local/lib*/opensips/modules",
)
NEEDED = ("siprec.so", "rtp_relay.so", "rtpengine.so", "b2b_entities.so", "uuid.so")


@dataclass(frozen=True, slots=True)
class OpenSipsPlan:
    """Who is around it: addresses are host:port, `workers` in the order in which they are tried."""

    pbx: str
    carrier: str
    rtpengine: str
    workers: Sequence[str]
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class OpenSips:
    """A running OpenSIPS: where it takes SIP (host:port, UDP and TCP)."""

    sip: str
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


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"


@asynccontextmanager
async def open_opensips(lab: Lab, plan: OpenSipsPlan) -> AsyncIterator[OpenSips]:
    """Runs an OpenSIPS while the block runs.

    Raises:
        MissingProgramError: it is not installed.
    """
    binary, modules = find_opensips()
    sip = f"{HOST}:{lab.ports.single()}"
    values = {
        **{"LOG_LEVEL": 3, "UDP_WORKERS": 2, "SIP": sip, "MODULES": modules},
        **{"RTPENGINE": plan.rtpengine, "TENANT": plan.tenant},
        **{"PBX": f"sip:{plan.pbx}", "CARRIER": f"sip:{plan.carrier}"},
        "PBX_SOURCE": f"^{plan.pbx.replace('.', '[.]')}$",
        "WORKERS": ",".join(f"sip:{worker};transport=tcp" for worker in plan.workers),
        "EMERGENCY": "^(110|112|911|999)$",
    }
    config = _render(lab.folder / "opensips", values)
    argv = [binary, "-F", "-f", config, "-m", "64", "-M", "8"]
    async with lab.program("opensips", argv, grace_seconds=GRACE_SECONDS) as program:

        async def answers() -> bool | None:
            async with asyncio.timeout(0.2):  # UDP: an early question is lost
                return await _options_answered(sip)

        await program.wait_until(answers, READY_SECONDS)
        yield OpenSips(sip, program)


def _render(folder: Path, values: Mapping[str, object]) -> Path:
    source = shipped("opensips")
    (folder / "routes").mkdir(parents=True)
    for path in (source / "opensips.cfg.tmpl", *(source / "routes").glob("*.cfg")):
        name = str(path.relative_to(source)).removesuffix(".tmpl")
        (folder / name).write_text(fill(path.read_text(), values))
    return folder / "opensips.cfg"


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
