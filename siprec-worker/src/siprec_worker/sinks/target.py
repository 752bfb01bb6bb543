"""Where a vendor's server is, and how it is dialled: the address and the TLS context."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from siprec_worker.errors import SetupError
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


def client_context(options: AgentOptions) -> ssl.SSLContext:
    """TLS for HTTP/2 (ALPN h2, RFC 9113 section 3.2), with our certificate where one is given.

    Raises SetupError for files that cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.certificate_file is not None:
            context.load_cert_chain(options.certificate_file, options.key_file)
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(
            str(path)
            for path in (options.ca_file, options.certificate_file, options.key_file)
            if path is not None
        )
        raise SetupError(f"the agent's TLS files ({named}) cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context
