"""The connector that an agent's URL names."""

from __future__ import annotations

from urllib.parse import urlsplit

from siprec_worker.errors import SetupError
from siprec_worker.session.ports import AgentConnector
from siprec_worker.sinks.discard import DiscardConnector
from siprec_worker.sinks.grpc_aio import GrpcAioConnector
from siprec_worker.sinks.h2_connector import H2Connector
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.resuming import Resuming
from siprec_worker.sinks.target import Target, client_contexts

SCHEMES = ("discard:", "grpc://", "grpcs://", "grpc+aio://", "grpcs+aio://")


def connector_for(url: str, options: AgentOptions) -> AgentConnector:
    """The connector for `discard:`, `grpc://host:port` (plaintext) or `grpcs://host:port` (TLS).

    `grpc+aio://` and `grpcs+aio://` are the same on grpc.aio. Nothing is dialled before a call.

    Raises:
        SetupError: another scheme, no host or port, more than that in the URL, or TLS files that
            cannot be used.
    """
    scheme, _, _ = url.partition(":")
    match scheme:
        case "discard":
            return DiscardConnector()
        case "grpc":
            return Resuming(H2Connector(_target(url, tls=False), options, None), options)
        case "grpcs":
            tls = client_contexts(options).current
            return Resuming(H2Connector(_target(url, tls=True), options, tls), options)
        case "grpc+aio":
            return Resuming(GrpcAioConnector(_target(url, tls=False), options), options)
        case "grpcs+aio":
            return Resuming(GrpcAioConnector(_target(url, tls=True), options), options)
        case _:
            raise SetupError(f"agent {url!r}: expected one of {', '.join(SCHEMES)}")


def _target(url: str, *, tls: bool) -> Target:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SetupError(f"agent {url!r}: {error}") from error
    if not host or not port:
        raise SetupError(f"agent {url!r}: expected {parts.scheme}://HOST:PORT")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise SetupError(f"agent {url!r}: nothing may follow HOST:PORT, and no user before it")
    return Target(host, port, tls)
