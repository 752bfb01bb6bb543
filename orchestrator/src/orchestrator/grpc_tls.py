"""mTLS of the orchestrator's gRPC, as server and as client, by files that may be replaced.

Connections that are made from then on show the new certificate and trust the new CA; those that
are open go on. Peers are dialled by address: a name that is in their certificate stands for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import grpc
import structlog

from orchestrator.errors import SetupError

log = structlog.get_logger(__name__)

Stamp = tuple[tuple[int, int, int], ...]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Identity:
    """Our certificate and its key, and who may sign the peers'. Paths of PEM files."""

    certificate: Path
    key: Path
    ca: Path | None = None  # None: the system's authorities, and no certificate asked of clients

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *((self.ca,) if self.ca else ()))

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """Certificate, key and CA, which belong together. Raises SetupError."""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(self.certificate, self.key)
            if self.ca is not None:
                context.load_verify_locations(self.ca)
            ca = self.ca.read_bytes() if self.ca is not None else None
            return self.certificate.read_bytes(), self.key.read_bytes(), ca
        except OSError as error:  # ssl.SSLError is one
            named = ", ".join(str(path) for path in self.files)
            raise SetupError(f"TLS files {named}: {error}") from error


class MadeFromFiles(Generic[Made]):
    """What `make` makes of the files: anew once they have changed.

    Files that cannot be used are told in the log, once; what was made before stays in use. The
    constructor raises what `make` does: SetupError.
    """

    def __init__(self, paths: Iterable[Path], make: Callable[[], Made]) -> None:
        self._paths = tuple(paths)
        self._make = make
        self._seen = _stamp_of(self._paths)
        self._made = make()

    def current(self) -> Made:
        """As the files are now. Looks at them each time; any thread may ask."""
        stamp = _stamp_of(self._paths)
        if stamp == self._seen:
            return self._made
        try:
            made = self._make()
        except SetupError:
            if _stamp_of(self._paths) == stamp:  # else they are just being written
                self._seen = stamp
                log.exception("TLS files not taken")
            return self._made
        if _stamp_of(self._paths) == stamp:  # else half of them may be older than the others
            self._made, self._seen = made, stamp
            log.info("TLS files taken anew", files=[str(path) for path in self._paths])
        return self._made


class Credentials(NamedTuple):
    """Of one state of the files."""

    server: grpc.ServerCertificateConfiguration
    client: grpc.ChannelCredentials


class GrpcTls:
    """Raises SetupError where the files cannot be used."""

    def __init__(self, identity: Identity) -> None:
        self._asks = identity.ca is not None
        self._made = MadeFromFiles(identity.files, lambda: _credentials(identity))
        self._given = self._made.current().server

    def server(self) -> grpc.ServerCredentials:
        """Once only: of one port."""
        return grpc.dynamic_ssl_server_credentials(
            self._given,
            self._changed,  # type: ignore[arg-type]  # the stub leaves None out
            require_client_authentication=self._asks,
        )

    def client(self) -> grpc.ChannelCredentials:
        """Of a channel that is made now; the same object as long as the files are the same."""
        return self._made.current().client

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """gRPC asks before each handshake, in a thread of its own. None: as before."""
        current = self._made.current().server
        if current is self._given:
            return None
        self._given = current
        return current


def _credentials(identity: Identity) -> Credentials:
    certificate, key, ca = identity.read()
    return Credentials(
        grpc.ssl_server_certificate_configuration([(key, certificate)], ca),
        grpc.ssl_channel_credentials(ca, key, certificate),
    )


def _stamp_of(paths: Iterable[Path]) -> Stamp:
    """Differs from one taken before if any of the files was written or replaced since."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            found.append((0, 0, 0))
        else:
            # A write may go on within one tick of the file system's clock.
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(found)
