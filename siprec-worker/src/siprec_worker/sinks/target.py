"""Where a vendor's server is, and how it is dialled: the address, TLS and its files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from siprec_worker.errors import SetupError
from siprec_worker.pem import MadeFromFiles
from siprec_worker.sinks.options import AgentOptions


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def agent_files(options: AgentOptions) -> tuple[Path, ...]:
    """The PEM files that TLS with an AI is made of; none: the system's authorities do."""
    named = (options.ca_file, options.certificate_file, options.key_file)
    return tuple(path for path in named if path is not None)


def client_contexts(options: AgentOptions) -> MadeFromFiles[ssl.SSLContext]:
    """The context of a connection that is made now. Raises SetupError."""
    return MadeFromFiles(agent_files(options), lambda: client_context(options))


def client_context(options: AgentOptions) -> ssl.SSLContext:
    """TLS for HTTP/2 (ALPN h2, RFC 9113 section 3.2), with our certificate where one is given.

    Raises SetupError for files that cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.certificate_file is not None:
            context.load_cert_chain(options.certificate_file, options.key_file)
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(str(path) for path in agent_files(options))
        raise SetupError(f"the agent's TLS files ({named}) cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
