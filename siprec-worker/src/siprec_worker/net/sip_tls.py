"""What SIP over TLS shows of itself and asks of its peers, read from files again and again."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from siprec_worker.errors import SetupError
from siprec_worker.pem import stamp_of

RELOAD_SECONDS = 5.0  # how often the files are looked at


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `ca`: who may sign peers' certificates; without it the system's authorities."""

    certificate: Path
    key: Path
    ca: Path | None = None
    client_certificates: bool = False  # connections without one that `ca` signed are refused

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.certificate, self.key, *((self.ca,) if self.ca else ()))


@dataclass(frozen=True, slots=True)
class TlsListening:
    host: str
    port: int  # 0 = a free one
    files: TlsFiles


class Credentials:
    """The two contexts made of the files: for connections to us, and for those we make.

    Raises SetupError where the files cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = stamp_of(files.all)
        self.server = self._server_context()
        self.client = self._client_context()

    def reload(self) -> bool:
        """True when the files had changed. Raises SetupError and keeps the old ones."""
        stamp = stamp_of(self._files.all)
        if stamp == self._seen:
            return False
        self._seen = stamp  # a broken file is told once, not every few seconds
        server, client = self._server_context(), self._client_context()
        self.server, self.client = server, client
        return True

    def _server_context(self) -> ssl.SSLContext:
        with self._named_errors():
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._files.ca)
            context.load_cert_chain(self._files.certificate, self._files.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._files.client_certificates:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _client_context(self) -> ssl.SSLContext:
        """For peers found by their address: their CA says who they are, not a name."""
        with self._named_errors():
            context = ssl.create_default_context(cafile=self._files.ca)
            context.load_cert_chain(self._files.certificate, self._files.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self._files.ca is None
        return context

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(path) for path in self._files.all)
            raise SetupError(f"TLS files {named}: {error}") from error
