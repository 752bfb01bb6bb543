"""An Asterisk of our own on loopback: ARI, PJSIP, queues, and the dialplan as it is shipped."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import aiohttp

from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.ports import HOST, PortRange
from voicefork_cli.lab.processes import Lab, Running
from voicefork_cli.lab.templates import fill, render_folder, shipped
from voicefork_cli.lab.tones import write_tone

READY_SECONDS = 30.0  # one second as a rule, four from a cold disk, more on a busy machine
GRACE_SECONDS = 0.5  # it may wait long for its channels, and has nothing to save
OLDEST = 20
MUSIC_HERTZ = 350
RTP_PORTS = 800
# Files Asterisk logs an error about where they are missing; empty means its defaults.
EMPTY_CONFIGS = (
    *("acl", "ccss", "cdr", "cel", "chan_websocket", "features", "indications", "pjproject"),
    *("queuerules", "udptl", "websocket_client"),
)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where an Asterisk is: the binary, its modules, its sounds and documentation."""

    binary: Path
    modules: Path
    share: Path


@dataclass(frozen=True, slots=True)
class AsteriskPlan:
    """What one Asterisk shall be.

    `agents` maps an endpoint's name to its phone's SIP contact (`sip:agent-1@127.0.0.1:5071`);
    `queues` maps a queue's name to its members' endpoints. Where `carrier` is given, Asterisk can
    also call it: a SIP contact, e.g. OpenSIPS'. `installation`: left out, what `find_asterisk`
    finds.
    """

    name: str = "asterisk"
    agents: Mapping[str, str] = field(default_factory=dict)
    queues: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"voicefork": ()})
    carrier: str | None = None
    record: bool = False
    ami: bool = False
    quiet: bool = False
    """Its log has warnings and errors only: the other lines, 65 a handoff, are work, too"""
    host: str = HOST
    carrier_host: str = HOST
    installation: Installation | None = None


@dataclass(frozen=True, slots=True)
class Asterisk:
    """A running Asterisk."""

    name: str
    sip: str
    """host:port of PJSIP over UDP"""
    ari_url: str
    """http://host:port/ari"""
    ari_user: str
    ari_password: str
    ami_port: int
    """0 where AMI is off; the account is the one of ARI"""
    etc: Path
    spool: Path
    installation: Installation
    program: Running

    @property
    def http_url(self) -> str:
        """http://host:port, as the orchestrator is told it."""
        return self.ari_url.removesuffix("/ari")

    @property
    def authorization(self) -> dict[str, str]:
        """The header of ARI requests (RFC 7617)."""
        account = f"{self.ari_user}:{self.ari_password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(account).decode()}"}

    async def cli(self, command: str) -> str:
        """Runs one CLI command, e.g. `core show channels`, and returns what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(self.installation.binary, "-C", self.etc / "asterisk.conf", "-rx", command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return output.decode(errors="replace")


def find_asterisk() -> Installation:
    """ASTERISK_ROOT, else an `asterisk` on PATH that is new enough, else the cached folder.

    Raises:
        MissingProgramError: there is none.
    """
    for root in (os.environ.get("ASTERISK_ROOT"), None, _cached_root()):
        installation = _of_machine() if root is None else _of_folder(Path(root))
        if installation is not None:
            return installation
    raise MissingProgramError("asterisk >= 20", "`make setup` puts one into ~/.cache/voicefork")


def find_old_asterisk() -> Installation | None:
    """An Asterisk 16, which is driven by AMI alone: ASTERISK_16_ROOT, else the cached folder."""
    return _of_folder(Path(os.environ.get("ASTERISK_16_ROOT") or _cached_root(16)))


def _cached_root(major: int = 22) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "voicefork" / f"asterisk-{major}"


def _of_folder(root: Path) -> Installation | None:
    """The layout that asterisk-root.sh makes."""
    installation = Installation(root / "asterisk", root / "modules", root / "share")
    return installation if installation.binary.is_file() else None


def _of_machine() -> Installation | None:
    binary = shutil.which("asterisk") or shutil.which("asterisk", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        return None
    answer = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False, timeout=10)
    version = re.search(r"Asterisk (\d+)", answer.stdout)
    if version is None or int(version[1]) < OLDEST:
        return None
    prefix = Path(binary).resolve().parent.parent
    modules = [*prefix.glob("lib*/asterisk/modules"), *prefix.glob("lib/*/asterisk/modules")]
    shares = [prefix / "share/asterisk", Path("/var/lib/asterisk")]
    share = next((path for path in shares if (path / "documentation").is_dir()), None)
    return Installation(Path(binary), modules[0], share) if modules and share else None


@asynccontextmanager
async def open_asterisk(lab: Lab, plan: AsteriskPlan | None = None) -> AsyncIterator[Asterisk]:
    """Runs an Asterisk while the block runs; it is ready when ARI answers."""
    with lab.ports.lent_rtp_range(RTP_PORTS) as rtp:
        async with _running(lab, plan or AsteriskPlan(), rtp) as asterisk:
            yield asterisk


@asynccontextmanager
async def _running(lab: Lab, plan: AsteriskPlan, rtp: PortRange) -> AsyncIterator[Asterisk]:
    installation = plan.installation or find_asterisk()
    home = lab.folder / plan.name
    _make_folders(home)
    sip_port, http_port = lab.ports.single(), lab.ports.single()
    ami_port = lab.ports.single() if plan.ami else 0
    password = secrets.token_urlsafe(18)
    values = {
        **{"NAME": plan.name, "HOST": plan.host, "SHIPPED": shipped("deploy/asterisk")},
        "CARRIER_HOST": plan.carrier_host,
        **{"ETC": home / "etc", "STATE": home, "MUSIC": home / "music"},
        **{"MODULES": installation.modules, "SHARE": installation.share},
        **{"SIP_PORT": sip_port, "HTTP_PORT": http_port},
        **{"RTP_FIRST": rtp.first, "RTP_LAST": rtp.last},
        **{"ARI_USER": "voicefork", "ARI_PASSWORD": password},
        **{"AMI_ENABLED": "yes" if plan.ami else "no", "AMI_PORT": ami_port or 5038},
        "RECORD": "yes" if plan.record else "no",
        "CARRIER_CONTACT": f"contact={plan.carrier}" if plan.carrier else "",
        **_lists(plan),
    }
    render_folder("asterisk", home / "etc", values)
    write_tone(home / "music" / "tone.wav", MUSIC_HERTZ, seconds=30)
    argv = [installation.binary, "-C", home / "etc" / "asterisk.conf", "-fn"]
    argv += [] if plan.quiet else ["-vvv"]
    async with lab.program(plan.name, argv, grace_seconds=GRACE_SECONDS) as program:
        asterisk = Asterisk(
            name=plan.name,
            sip=f"{plan.host}:{sip_port}",
            ari_url=f"http://{plan.host}:{http_port}/ari",
            ari_user="voicefork",
            ari_password=password,
            ami_port=ami_port,
            etc=home / "etc",
            spool=home / "spool",
            installation=installation,
            program=program,
        )
        await _wait_for_ari(asterisk)
        yield asterisk


def _make_folders(home: Path) -> None:
    for name in ("etc", "lib/keys", "run", "log", "cache", "music", "spool/monitor"):
        (home / name).mkdir(parents=True, exist_ok=True)  # of an attempt that failed
    for name in EMPTY_CONFIGS:
        (home / "etc" / f"{name}.conf").touch()


def _lists(plan: AsteriskPlan) -> dict[str, str]:
    """The parts of the configuration that repeat: phones, queues and their members."""
    agent = resources.files(__package__).joinpath("templates", "agent.conf").read_text()
    phones = [fill(agent, {"NAME": name, "CONTACT": c}) for name, c in plan.agents.items()]
    sections = {"voicefork": ""}  # the one that is shipped gets members only
    for queue, members in plan.queues.items():
        head = "" if queue == "voicefork" else f"[{queue}](voicefork-queue)\ntimeout=8\n"
        lines = [f"member => PJSIP/{name},0,{name},PJSIP/{name}\n" for name in members]
        sections[queue] = head + "".join(lines)
    return {
        "AGENT_ENDPOINTS": "".join(phones),
        "QUEUE_MEMBERS": sections.pop("voicefork"),
        "QUEUES": "\n".join(sections.values()),
    }


async def _wait_for_ari(asterisk: Asterisk) -> None:
    async with aiohttp.ClientSession(headers=asterisk.authorization) as session:

        async def answers() -> bool | None:
            try:
                async with session.get(f"{asterisk.ari_url}/asterisk/info") as response:
                    return True if response.ok else None
            except aiohttp.ClientError as error:
                raise ConnectionError(str(error)) from error

        await asterisk.program.wait_until(answers, READY_SECONDS)
        await asterisk.cli("core waitfullybooted")
