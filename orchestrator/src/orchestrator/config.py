"""The orchestrator's settings: flags, then VOICEFORK_ environment variables, then a YAML file.

Read once in `__main__`, passed down as frozen values; nothing else reads the environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from orchestrator.errors import SetupError

_HIGHEST_PORT = 65535


class HostPort(str):
    """A listening address, written HOST:PORT or [IPV6]:PORT; port 0 = any free one."""

    __slots__ = ("host", "port")
    host: str
    port: int

    def __new__(cls, text: str) -> HostPort:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or int(port) > _HIGHEST_PORT:
            raise ValueError(f"expected HOST:PORT, got {text!r}")
        self = super().__new__(cls, text)
        self.host, self.port = host.strip("[]"), int(port)
        return self


Address = Annotated[HostPort, PlainValidator(HostPort)]


class Waiting(Enum):
    """What the caller hears until the bot's first words."""

    MUSIC = "music"
    RINGING = "ringing"


class Answer(Enum):
    """When the caller's channel is answered.

    FIRST: at once. ON_BOT: early media until the bot has something to say; needs a carrier that
    passes early media on.
    """

    FIRST = "first"
    ON_BOT = "on_bot"


class Refers(Enum):
    """Who does what a hosted bot asks for by REFER.

    CORE: Asterisk itself, which leads to the queue it names. ARI: the orchestrator; on Asterisk up
    to 22.10 a REFER with `Refer-Sub: false` then ends Asterisk. AUTO: ARI from 22.11 on.
    """

    AUTO = "auto"
    CORE = "core"
    ARI = "ari"


def _setting(default: Any, description: str, **limits: Any) -> Any:
    return Field(default=default, description=description, **limits)


class Settings(BaseSettings):
    """voicefork-orchestrator: brings AI agents into Asterisk's calls, and people after them.

    A setting comes from a flag (--redis), else from the environment (VOICEFORK_REDIS), else from
    the YAML file of --config.
    """

    model_config = SettingsConfigDict(
        env_prefix="VOICEFORK_",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_prog_name="voicefork-orchestrator",
        extra="forbid",
        frozen=True,
    )

    config: Path | None = _setting(None, "YAML file with any of these settings")
    redis: str = _setting("redis://127.0.0.1:6379/0", "redis://… where forks and calls meet")
    ari: str = _setting("http://127.0.0.1:8088", "Asterisk's HTTP address")
    ari_user: str = _setting("voicefork", "user of ari.conf")
    ari_password: SecretStr = _setting(SecretStr(""), "its password (better: --ari-password-file)")
    ari_password_file: Path | None = _setting(None, "file that holds the password")
    ari_limit: float = _setting(2.0, "seconds Asterisk has for a request", gt=0)
    ami: Address | None = _setting(None, "HOST:PORT of manager.conf: queues and the dialplan")
    ami_user: str = _setting("voicefork", "user of manager.conf")
    ami_password: SecretStr = _setting(SecretStr(""), "its secret; empty: the one of ARI")
    ami_password_file: Path | None = _setting(None, "file that holds the secret")
    ami_nodes: dict[str, str] = _setting(
        {}, "nodes driven by AMI alone: name -> HOST:PORT (same user and secret)"
    )
    ari_nodes: dict[str, str] = _setting(
        {}, "further Asterisk nodes: name -> HTTP address (same user and password)"
    )
    ari_socket_rest: bool = _setting(
        True, "requests on the events' websocket where the node can do that"
    )
    app: str = _setting("", "Stasis application, this replica's fixed slot; empty: a free one")
    slots: int = _setting(4, "slots voicefork-0 .. that replicas lease", ge=1, le=64)
    node: str = _setting("asterisk", "name of the Asterisk node, as workers know it")
    grpc: Address = _setting(HostPort("127.0.0.1:7070"), "gRPC: workers, AI vendors, tools")
    admin: Address = _setting(HostPort("127.0.0.1:7071"), "health, metrics, calls")
    advertise: str = _setting("", "HOST:PORT of our gRPC as workers reach it; default: --grpc")
    grpc_cert: Path | None = _setting(None, "our certificate (PEM); with --grpc-key: TLS")
    grpc_key: Path | None = _setting(None, "its key (PEM)")
    grpc_ca: Path | None = _setting(None, "CA that peers' certificates must be from (mTLS)")
    grpc_worker_name: str = _setting("", "name in the workers' certificates; empty: their address")
    grpc_orchestrator_name: str = _setting("", "the same in the other replicas'")
    queue_context: str = _setting(
        "voicefork-queue", "dialplan context of the queue callers fall back to"
    )
    queue_extension: str = _setting("s", "its extension there")
    routing: Path | None = _setting(None, "YAML file of the handoffs' rules")
    target: str = _setting("", "without rules: whom a handoff dials, e.g. PJSIP/alice")
    agent_context: str = _setting("internal", "dialplan context of extensions that are targets")
    trunk: str = _setting("", "PJSIP endpoint for targets outside; empty: none")
    dial_out: str = _setting("", "calls out, e.g. PJSIP/${EXT}@carrier; empty: none are made")
    dial_out_seconds: int = _setting(45, "seconds a callee's phone may ring", ge=1, le=300)
    refers: Refers = _setting(Refers.AUTO, "who does a hosted bot's REFER: core, ari, or auto")
    tenant: str = _setting("default", "tenant of handoffs that are asked for by id")
    voice: str = _setting("slt", "flite's voice for agents' briefings; empty: none is spoken")
    waiting: Waiting = _setting(Waiting.MUSIC, "what the caller hears until the bot speaks")
    music_class: str = _setting("", "music on hold class; empty: the channel's own")
    ring_tone: str = _setting("440+480/2000|0/4000", "ringing after the answer: Asterisk tone list")
    answer: Answer = _setting(Answer.FIRST, "answer at once, or when the bot speaks")
    rendezvous_deadline: float = _setting(2.0, "seconds for the fork to appear", gt=0)
    bot_speaks_deadline: float = _setting(5.0, "seconds for the bot's first words", gt=0)
    adoption_deadline: float = _setting(3.0, "seconds for a lost worker's calls to move", gt=0)
    max_calls: int = _setting(2000, "calls with a bot at a time; more go to the queue", ge=1)
    drain_seconds: float = _setting(20.0, "SIGTERM: how long calls may end by themselves", ge=0)
    kubernetes_workers: str = _setting(
        "", "in Kubernetes: the workers' headless Service, as NAME or NAMESPACE/NAME"
    )
    kubernetes_lease: str = _setting(
        "voicefork-orchestrator", "its Lease by which one replica keeps the pool"
    )
    dev: bool = _setting(False, "development: gRPC reflection")
    log: str = _setting("console", "console or json", pattern="^(console|json)$")
    log_level: str = _setting("INFO", "how much", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if (self.grpc_cert is None) is not (self.grpc_key is None):
            raise ValueError("--grpc-cert and --grpc-key go together")
        if self.grpc_ca is not None and self.grpc_cert is None:
            raise ValueError("--grpc-ca needs --grpc-cert and --grpc-key: alone it secures nothing")
        if self.grpc.host in ("0.0.0.0", "::", "") and not self.advertise:
            raise ValueError("--grpc on every address needs --advertise (what workers dial)")
        return self

    def password(self) -> str:
        """ARI's password. Raises SetupError: its file cannot be read."""
        return _secret("--ari-password-file", self.ari_password_file, self.ari_password)

    def ami_secret(self) -> str:
        """Raises SetupError: its file cannot be read."""
        own = _secret("--ami-password-file", self.ami_password_file, self.ami_password)
        return own or self.password()


def _secret(flag: str, file: Path | None, given: SecretStr) -> str:
    if file is None:
        return given.get_secret_value()
    try:
        return file.read_text().strip()
    except OSError as error:
        raise SetupError(f"{flag}: {error}") from error


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
