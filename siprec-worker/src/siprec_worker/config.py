"""The worker's settings: flags, then VOICEFORK_ environment variables, then a YAML file.

Read once in `__main__`, passed down as frozen values; nothing else reads the environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from siprec_worker.errors import SetupError


class HostPort(BaseModel):
    """A listening address, written HOST:PORT or [IPV6]:PORT; port 0 = any free one."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int = Field(ge=0, le=65535)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host_port(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"expected HOST:PORT, got {value!r}")
    return {"host": host.strip("[]"), "port": int(port)}


def _loopback(port: int) -> HostPort:
    return HostPort(host="127.0.0.1", port=port)


Address = Annotated[HostPort, BeforeValidator(_host_port)]


class PortRange(BaseModel):
    """UDP ports for RTP, written FIRST-LAST."""

    model_config = ConfigDict(frozen=True)

    first: int = Field(ge=1024, le=65534)
    last: int = Field(ge=1025, le=65535)

    @model_validator(mode="after")
    def _in_order(self) -> PortRange:
        if self.last - self.first < 1:
            raise ValueError(f"RTP port range {self.first}-{self.last} holds no RTP/RTCP pair")
        return self


def _port_range(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    first, dash, last = value.partition("-")
    if not dash or not (first.isdigit() and last.isdigit()):
        raise ValueError(f"expected FIRST-LAST, got {value!r}")
    return {"first": int(first), "last": int(last)}


Ports = Annotated[PortRange, BeforeValidator(_port_range)]


class AgentRole(Enum):
    PRIMARY = "primary"
    SHADOW = "shadow"
    ASSIST = "assist"


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

    config: Path | None = Field(None, description="YAML file with any of these settings")
    sip: Address = Field(_loopback(5080), description="SIP over UDP and TCP")
    admin: Address = Field(
        HostPort(host="127.0.0.1", port=8090), description="health, metrics, calls"
    )
    control: Address = Field(_loopback(0), description="gRPC for the orchestrator")
    advertise: str = Field("", description="address in SDP and Contact; needed on 0.0.0.0 or ::")
    rtp_ports: Ports = Field(PortRange(first=30000, last=39999), description="UDP ports for RTP")
    worker_id: str = Field("", description="this worker's name; default: host name and pid")
    redis: str = Field("", description="redis://… of the registry; empty: in memory")
    orchestrator: str = Field("", description="HOST:PORT of the orchestrator's gRPC")
    agent: str = Field("discard:", description="the AI of every call that no route takes")
    dial: DialWhen = Field(DialWhen.AUTO, description="when the --agent is dialled")
    language: str = Field("", description="language hint for the --agent")
    routes: tuple[Route, ...] = Field((), description="routes (YAML): did, tenant, trunk -> agents")
    allowed_headers: tuple[str, ...] = Field(
        ("X-Voicefork-Trunk", "X-Voicefork-DID"), description="SIP headers the AI may see"
    )
    max_calls: int = Field(1000, ge=1, description="more are refused with 503")
    tick_ms: int = Field(20, description="how often received RTP is drained: 10 or 20")
    reorder_ms: int = Field(40, ge=0, le=200, description="longest wait for a packet out of order")
    answer_delay_ms: int = Field(20, ge=0, le=1000, description="earliest 200 after an INVITE")
    rtp_silence_seconds: float = Field(60.0, gt=0, description="no RTP for this long ends the call")
    open_seconds: float = Field(3.0, gt=0, description="limit for an AI to open")
    agent_ca: Path | None = Field(None, description="CA of grpcs:// agents (PEM)")
    log: str = Field("console", pattern="^(console|json)$", description="console or json")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _reachable(self) -> Settings:
        if self.sip.host in ("0.0.0.0", "::", "") and not self.advertise:
            raise ValueError("listening on every address needs --advertise (the address for SDP)")
        if self.tick_ms not in (10, 20):
            raise ValueError("tick_ms must be 10 or 20")
        return self

    @property
    def media_host(self) -> str:
        return self.advertise or self.sip.host

    def route_for(self, did: str, tenant: str, trunk: str, hint: str) -> Route:
        """The route of a call: the first that takes it, else --agent for all."""
        for route in self.routes:
            if route.takes(did, tenant, trunk, hint):
                return route
        choice = AgentChoice(url=self.agent)
        return Route(agents=(choice,), dial=self.dial, language=self.language)

    def dials_on_fork(self, route: Route) -> bool:
        if route.dial is DialWhen.AUTO:
            return not self.redis
        return route.dial is DialWhen.FORK


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
    except (ValidationError, SettingsError, YAMLError) as error:
        raise SetupError(str(error)) from error
