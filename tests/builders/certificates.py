"""Certificates for tests: an authority of their own and what it signs, made by openssl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

LOOPBACK = "DNS:localhost,IP:127.0.0.1,IP:::1"


@dataclass(frozen=True, slots=True)
class Signed:
    certificate: Path
    key: Path


class Authority:
    """Signs for loopback. Skips the test where there is no openssl."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl to make a certificate with")
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            f"req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN={name}"
            f" -keyout {self._key} -out {self.certificate}"
        )

    @property
    def own(self) -> tuple[Path, Path]:
        """Its own certificate, signed by itself, and the key."""
        return self.certificate, self._key

    def sign(self, name: str, into: Signed | None = None, names: str = LOOPBACK) -> Signed:
        """A new key and certificate; `into` overwrites the files of an earlier one. `names` are
        those of the certificate, as openssl writes them."""
        made = into or Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {made.key} -out {request}")
        _openssl(
            f"x509 -req -in {request} -CA {self.certificate} -CAkey {self._key} -CAcreateserial"
            f" -days 1 -extfile {extensions} -out {made.certificate}"
        )
        return made


def _openssl(arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True)
