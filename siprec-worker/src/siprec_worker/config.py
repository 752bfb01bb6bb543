"""The worker's settings: flags, then VOICEFORK_ environment variables, then a YAML file.

Read once in `__main__`, passed down as frozen values; nothing else reads the environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from siprec_worker.errors import SetupError


class HostPort(str):
    """A listening address, written HOST:PORT or [IPV6]:PORT; port 0 = any free one."""

    __slots__ = ("host", "port")
    host: str
    port: int

    def __new__(cls, text: str) -> HostPort:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - 16 bits
            raise ValueError(f"expected HOST:PORT, got {text!r}")
        self = super().__new__(cls, text)
        self.host, self.port = host.strip("[]"), int(port)
        return self


class PortRange(str):
    """UDP ports for RTP, written FIRST-LAST."""

    __slots__ = ("first", "last")
    first: int
    last: int

    def __new__(cls, text: str) -> PortRange:
        first, dash, last = text.partition("-")
        if not dash or not (first.isdigit() and last.isdigit()):
            raise ValueError(f"expected FIRST-LAST, got {text!r}")
        self = super().__new__(cls, text)
        self.first, self.last = int(first), int(last)
        if not 1024 <= self.first < self.last <= 65535:  # noqa: PLR2004 - unprivileged, 16 bits
            raise ValueError(f"RTP ports {text}: expected 1024 <= FIRST < LAST <= 65535")
        return self


Address = Annotated[HostPort, PlainValidator(HostPort)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(ip_network)]
Ports = Annotated[PortRange, PlainValidator(PortRange)]


class AgentRole(Enum):
    PRIMARY = "primary"
    SHADOW = "shadow"
    ASSIST = "assist"


class Uplink(Enum):
    """What an AI is proposed to hear: PCM of 16 bits at 8, 16 or 24 kHz, or G.711."""

    PCM8 = "pcm8"
    PCM16 = "pcm16"
    PCM24 = "pcm24"
    ULAW = "ulaw"
    ALAW = "alaw"


class DialWhen(Enum):
    """When a route's PRIMARY is dialled.

    FORK: as soon as the call is forked. TALKBACK: once the PBX has given the bot a voice, so that
    a plain PBX call that never meets the orchestrator has no AI on it. AUTO: TALKBACK where there
    is a registry (--redis) to meet in, else FORK.
    """

    AUTO = "auto"
    FORK = "fork"
    TALKBACK = "talkback"


class AgentChoice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    role: AgentRole = AgentRole.PRIMARY
    uplink: Uplink = Uplink.PCM8  # proposed: the AI may choose another
    vad: bool | None = None  # is it told who speaks when? Unset: a primary is


class Route(BaseModel):
    """Which AIs a call gets. The first route whose conditions all hold; empty = any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "default"
    did: tuple[str, ...] = ()
    tenant: tuple[str, ...] = ()
    trunk: tuple[str, ...] = ()
    agents: tuple[AgentChoice, ...] = ()
    dial: DialWhen = DialWhen.AUTO
    language: str = ""

    @model_validator(mode="after")
    def _one_primary(self) -> Route:
        if sum(agent.role is AgentRole.PRIMARY for agent in self.agents) > 1:
            raise ValueError(f"route {self.name!r} has more than one primary agent")
        return self

    def takes(self, did: str, tenant: str, trunk: str, hint: str) -> bool:
        if hint:
            return hint == self.name
        wanted = ((self.did, did), (self.tenant, tenant), (self.trunk, trunk))
        return all(not choices or value in choices for choices, value in wanted)


def _setting(default: Any, description: str, **limits: Any) -> Any:
    return Field(default=default, description=description, **limits)


class Settings(BaseSettings):
    """voicefork-worker: a SIPREC recording server that streams calls to AI agents.

    Without any setting it records on loopback, keeps its registry in memory and discards the
    audio. A setting comes from a flag (--sip), else from the environment (VOICEFORK_SIP), else
    from the YAML file of --config.
    """

    model_config = SettingsConfigDict(
        env_prefix="VOICEFORK_",
        cli_kebab_case=True,
        cli_prog_name="voicefork-worker",
        extra="forbid",
        frozen=True,
    )

    config: Path | None = _setting(None, "YAML file with any of these settings")
    sip: Address = _setting(HostPort("127.0.0.1:5080"), "SIP over UDP and TCP")
    sip_tls: Address | None = _setting(None, "SIP over TLS")
    sip_tls_certificate: Path | None = _setting(None, "our certificate and its chain (PEM)")
    sip_tls_key: Path | None = _setting(None, "its key (PEM)")
    sip_tls_ca: Path | None = _setting(None, "who signs the peers' certificates (PEM)")
    sip_tls_clients: bool = _setting(False, "refuse peers without a certificate of that CA")
    sip_allow: tuple[Network, ...] = _setting(
        (), "networks that may send SIP; others get 403; empty: everybody may"
    )
    sip_realm: str = _setting("voicefork", "realm of the digest challenge", pattern=r'^[^"\\]+$')
    sip_users: dict[str, SecretStr] = _setting({}, "who may call (YAML): user -> password")
    sip_users_file: Path | None = _setting(None, "the same in a YAML file of its own")
    admin: Address = _setting(HostPort("127.0.0.1:8090"), "health, metrics, calls")
    control: Address = _setting(HostPort("127.0.0.1:0"), "gRPC for the orchestrator")
    advertise: str = _setting("", "address in SDP and Contact; needed on 0.0.0.0 or ::")
    rtp_ports: Ports = _setting(PortRange("30000-39999"), "UDP ports for RTP")
    worker_id: str = _setting("", "this worker's name; default: host name and pid")
    redis: str = _setting("", "redis://… of the registry; empty: in memory")
    zone: str = _setting("", "where it runs: OpenSIPS of the same zone prefer it")
    orchestrator: str = _setting("", "HOST:PORT of the orchestrator's gRPC")
    agent: str = _setting("discard:", "the AI of every call that no route takes")
    dial: DialWhen = _setting(DialWhen.AUTO, "when the --agent is dialled")
    uplink: Uplink = _setting(Uplink.PCM8, "audio proposed to the --agent")
    vad: bool = _setting(True, "look for speech in the audio at all")
    language: str = _setting("", "language hint for the --agent")
    routes: tuple[Route, ...] = _setting((), "routes (YAML): did, tenant, trunk -> agents")
    routes_file: Path | None = _setting(
        None, "the same in a YAML file of its own, read again when it changes"
    )
    allowed_headers: tuple[str, ...] = _setting(
        ("X-Voicefork-Trunk", "X-Voicefork-DID"), "SIP headers the AI may see"
    )
    max_calls: int = _setting(1000, "more are refused with 503", ge=1)
    max_lag_ms: int = _setting(60, "refuse calls while ticks are that late", ge=1)
    drain_seconds: float = _setting(30.0, "on SIGTERM calls may go on for so long", ge=0)
    tick_ms: int = _setting(20, "how often received RTP is drained: 5, 10 or 20")
    reorder_ms: int = _setting(40, "longest wait for a packet out of order", ge=0, le=200)
    answer_delay_ms: int = _setting(25, "earliest 200 after an INVITE (20 or more)", ge=0, le=1000)
    rtp_silence_seconds: float = _setting(60.0, "no RTP for this long ends the call", gt=0)
    open_seconds: float = _setting(3.0, "limit for an AI to open", gt=0)
    agent_ca: Path | None = _setting(None, "CA of grpcs:// agents (PEM)")
    agent_cert: Path | None = _setting(None, "certificate shown to them (PEM), with --agent-key")
    agent_key: Path | None = _setting(None, "its key (PEM)")
    grpc_cert: Path | None = _setting(None, "certificate of our gRPC (PEM), with --grpc-key: TLS")
    grpc_key: Path | None = _setting(None, "its key (PEM)")
    grpc_ca: Path | None = _setting(None, "CA that its peers' certificates must be from (mTLS)")
    grpc_worker_name: str = _setting("", "name in the workers' certificates; empty: their address")
    grpc_orchestrator_name: str = _setting("", "the same in the orchestrators'")
    ari: str = _setting("", "Asterisk's HTTP address: callers reach its queue by us, if need be")
    ari_nodes: dict[str, str] = _setting({}, "the same of several nodes (YAML): name -> address")
    ari_user: str = _setting("voicefork", "user of ari.conf")
    ari_password: SecretStr = _setting(SecretStr(""), "its password (VOICEFORK_ARI_PASSWORD)")
    queue_context: str = _setting("voicefork-queue", "dialplan context of the queue")
    queue_extension: str = _setting("s", "and the extension in it")
    log: str = _setting("console", "console or json", pattern="^(console|json)$")
    log_level: str = _setting("INFO", "how much", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _reachable(self) -> Settings:
        if self.sip.host in ("0.0.0.0", "::", "") and not self.advertise:
            raise ValueError("listening on every address needs --advertise (the address for SDP)")
        if self.tick_ms not in (5, 10, 20):
            raise ValueError("tick_ms must be 5, 10 or 20")
        for url in self.asterisk_nodes.values():
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"--ari {url}: write it as http://127.0.0.1:8088")
        return self

    @property
    def asterisk_nodes(self) -> dict[str, str]:
        """Addresses by node name; "" is the one of every other node. Empty: no way to Asterisk."""
        return {**self.ari_nodes, **({"": self.ari} if self.ari else {})}

    @model_validator(mode="after")
    def _routed(self) -> Settings:
        if self.routes and self.routes_file is not None:
            raise ValueError("--routes and --routes-file: say it in one place")
        return self

    @model_validator(mode="after")
    def _secured(self) -> Settings:
        if self.sip_tls is not None and not (self.sip_tls_certificate and self.sip_tls_key):
            raise ValueError("--sip-tls needs --sip-tls-certificate and --sip-tls-key")
        if self.sip_tls_clients and self.sip_tls_ca is None:
            raise ValueError("--sip-tls-clients needs --sip-tls-ca: who may sign them?")
        for certificate, key, what in (
            (self.grpc_cert, self.grpc_key, "grpc"),
            (self.agent_cert, self.agent_key, "agent"),
        ):
            if (certificate is None) is not (key is None):
                raise ValueError(f"--{what}-cert and --{what}-key go together")
        if self.grpc_ca is not None and self.grpc_cert is None:
            raise ValueError("--grpc-ca needs --grpc-cert and --grpc-key: alone it secures nothing")
        return self

    def passwords(self) -> dict[str, str]:
        """Of users who may call, by name; empty: nobody is asked. Raises SetupError."""
        found = {name: secret.get_secret_value() for name, secret in self.sip_users.items()}
        if self.sip_users_file is not None:
            found.update(_read_users(self.sip_users_file))
        return found

    @property
    def media_host(self) -> str:
        return self.advertise or self.sip.host

    @property
    def usual_route(self) -> Route:
        """Of calls that no other route takes: --agent."""
        choice = AgentChoice(url=self.agent, uplink=self.uplink)
        return Route(agents=(choice,), dial=self.dial, language=self.language)

    def watches_speech(self, agent: AgentChoice) -> bool:
        wanted = agent.role is AgentRole.PRIMARY if agent.vad is None else agent.vad
        return self.vad and wanted

    def dials_on_fork(self, route: Route) -> bool:
        if route.dial is DialWhen.AUTO:
            return not self.redis
        return route.dial is DialWhen.FORK


def _read_users(path: Path) -> dict[str, str]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SetupError(f"--sip-users-file {path}: {error}") from error
    if not isinstance(read, dict) or not read:
        raise SetupError(f"--sip-users-file {path}: expected user: password, one a line")
    return {str(name): str(password) for name, password in read.items()}


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from command-line arguments, the environment and the YAML file they name.

    Raises SetupError with every wrong setting named, or the file that cannot be read.
    """
    early = argparse.ArgumentParser(add_help=False)
    early.add_argument("--config", default=environ.get("VOICEFORK_CONFIG", ""))
    named: str = early.parse_known_args(arguments)[0].config
    if named and not Path(named).is_file():
        raise SetupError(f"--config {named}: no such file")

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            flags: CliSettingsSource[argparse.ArgumentParser] = CliSettingsSource(
                settings_cls, cli_parse_args=list(arguments)
            )
            file = (YamlConfigSettingsSource(settings_cls, named),) if named else ()
            return (flags, env_settings, *file)

    try:
        return Sourced()
    except (ValidationError, SettingsError, yaml.YAMLError) as error:
        raise SetupError(str(error)) from error
