"""A gRPC channel to one of our services, with the TLS that it wants."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import grpc
import typer

CaFile = Annotated[Path | None, typer.Option(help="CA of its gRPC (PEM).")]
CertFile = Annotated[Path | None, typer.Option(help="Our certificate for it (PEM).")]
KeyFile = Annotated[Path | None, typer.Option(help="Its key (PEM).")]
CertName = Annotated[str, typer.Option(help="Name in its certificate, if not the address.")]


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the services' gRPC; without a CA it has no TLS. Raises typer.BadParameter."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    name: str = ""  # what their certificate says; empty: the address that is dialled

    def __post_init__(self) -> None:
        if self.ca is None and (self.cert or self.key or self.name):
            raise typer.BadParameter("TLS needs --tls-ca: without it nothing is encrypted")
        if (self.cert is None) is not (self.key is None):
            raise typer.BadParameter("--tls-cert and --tls-key go together")

    @property
    def used(self) -> bool:
        return self.ca is not None

    def of(self, name: str) -> Tls:
        return replace(self, name=name)


PLAINTEXT = Tls()


def channel_to(address: str, tls: Tls) -> grpc.aio.Channel:
    """Raises OSError: a file cannot be read."""
    if tls.ca is None:
        return grpc.aio.insecure_channel(address)
    pair = (tls.key.read_bytes() if tls.key else None, tls.cert.read_bytes() if tls.cert else None)
    credentials = grpc.ssl_channel_credentials(tls.ca.read_bytes(), *pair)
    options = (("grpc.ssl_target_name_override", tls.name),) if tls.name else ()
    return grpc.aio.secure_channel(address, credentials, options=options)
