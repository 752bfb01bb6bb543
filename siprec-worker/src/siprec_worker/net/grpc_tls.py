"""mTLS of the worker's gRPC, as server and as client, by files that may be replaced.

Connections that are made from then on show the new certificate and trust the new CA; those that
are open go on. Peers are dialled by address: a name that is in their certificate stands for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

import grpc

from siprec_worker.pem import Identity, MadeFromFiles

# An orchestrator whose machine is gone says nothing: its stream is given up after four seconds, and
# what it has not acknowledged is told to whoever answers at its address. It lets us ask so often.
ALIVE = (
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 2000),
    ("grpc.http2.ping_timeout_ms", 2000),  # what gRPC 1.85 goes by: else 60 s
    ("grpc.http2.max_pings_without_data", 0),  # a quiet line, too: else two, then one a minute
)


@dataclass(frozen=True, slots=True)
class PeerNames:
    """What must be in the certificates of those we dial; empty: the address we dial."""

    orchestrator: str = ""
    worker: str = ""


class Credentials(NamedTuple):
    """Of one state of the files."""

    server: grpc.ServerCertificateConfiguration
    client: grpc.ChannelCredentials


class GrpcTls:
    """Raises SetupError where the files cannot be used."""

    def __init__(self, identity: Identity, names: PeerNames) -> None:
        self.names = names
        self.asks = identity.ca is not None  # clients for their certificates
        self._made = MadeFromFiles(identity.files, lambda: _credentials(identity))
        self._given = self._made.current().server

    def server(self) -> grpc.ServerCredentials:
        """Once only: of one port."""
        return grpc.dynamic_ssl_server_credentials(
            self._given,
            self._changed,  # type: ignore[arg-type]  # the stub leaves None out
            require_client_authentication=self.asks,
        )

    def channel(
        self, address: str, name: str, options: tuple[tuple[str, int], ...] = ()
    ) -> grpc.aio.Channel:
        named = (("grpc.ssl_target_name_override", name),) if name else ()
        credentials = self._made.current().client
        return grpc.aio.secure_channel(address, credentials, options=(*named, *options))

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """gRPC asks before each handshake, in a thread of its own. None: as before."""
        current = self._made.current().server
        if current is self._given:
            return None
        self._given = current
        return current


def is_open_to_strangers(host: str, tls: GrpcTls | None) -> bool:
    """Whoever reaches a server on `host` may ask it for anything."""
    if tls is not None and tls.asks:
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


Dial = Callable[[str], grpc.aio.Channel]
"""A new channel to HOST:PORT; whoever asks for it closes it."""


def dial_orchestrator(tls: GrpcTls | None) -> Dial:
    if tls is None:
        return lambda address: grpc.aio.insecure_channel(address, options=ALIVE)
    return lambda address: tls.channel(address, tls.names.orchestrator, ALIVE)


def dial_worker(tls: GrpcTls | None) -> Dial:
    if tls is None:
        return grpc.aio.insecure_channel
    return lambda address: tls.channel(address, tls.names.worker)


def _credentials(identity: Identity) -> Credentials:
    certificate, key, ca = identity.read()
    return Credentials(
        grpc.ssl_server_certificate_configuration([(key, certificate)], ca),
        grpc.ssl_channel_credentials(ca, key, certificate),
    )
