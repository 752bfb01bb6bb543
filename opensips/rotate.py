#!/usr/bin/env python3
"""Puts a renewed certificate into use in an OpenSIPS that runs (Python 3.11, nothing else).

    rotate.py [--every SECONDS] values.json /etc/opensips [name=value ...]

With what render.py was given, `tls_reload` among it. The files are checked, written to OpenSIPS'
table, and it is told to read it (MI tls_reload): who connects from then on is shown the new
certificate. Connections and calls stay as they are. Files that are of no use change nothing; why is
told on stderr. Once, or with --every whenever the files have changed, until SIGTERM.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import ssl
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge_certificate import DOMAINS
from edge_values import ValuesError, checked
from render import given_by, renewable, tables

ANSWER_SECONDS = 30.0  # OpenSIPS 3.6.8 took 0.04 s to 0.6 s, for 2 domains in 14 processes
TABLE = "tls_mgm"


class RotationError(Exception):
    """OpenSIPS did not answer, or did not do what it was asked."""


class RefusedError(RotationError):
    """OpenSIPS has left these files out: to ask again would be no use."""


class Rotation:
    """One edge's certificate."""

    def __init__(self, values: dict[str, Any], folder: Path) -> None:
        self._values = values
        self.mi = Path(values["mi"])
        self._table = folder / "tables" / TABLE
        self._good = self._table.read_text()
        self._told = ""  # at first OpenSIPS is told in any case: it may have begun with older files
        self._refused = ""

    @property
    def owner(self) -> int:
        """The user who reads the table: OpenSIPS'."""
        return self._table.stat().st_uid

    def once(self) -> str | None:
        """Brings the files of now into use; their certificate's fingerprint, None where they were.

        Raises:
            ValuesError: the files are of no use.
            RotationError: OpenSIPS does not answer, or does not take them.
            OSError: the table cannot be written.
            In each case the certificate of before stays.
        """
        wanted = tables(self._values)[TABLE]
        if wanted == self._told:
            return None
        if wanted == self._refused:
            raise RefusedError("OpenSIPS did not take it: its log says why")
        try:
            self._write(wanted)
            self._tell()
        except RotationError as error:
            self._write(self._good)  # what an OpenSIPS that starts will read
            if isinstance(error, RefusedError):
                self._tell()
                self._refused = wanted  # not before: TLS may be over, and all is tried again
            raise
        self._good = self._told = wanted
        return fingerprint(wanted)

    def _write(self, text: str) -> None:
        new = self._table.with_name(f"{TABLE}.new")
        new.touch(mode=0o600)  # the key is in it
        new.write_text(text)
        # db_text reads a table again if its time is later, in whole seconds.
        later = max(int(time.time()), int(self._table.stat().st_mtime) + 1)
        os.utime(new, (later, later))
        new.replace(self._table)

    def _tell(self) -> None:
        ask(self.mi, "tls_reload")
        # It says OK to a certificate that it cannot use, and goes on without one.
        listed = json.dumps(ask(self.mi, "tls_list"))
        if not all(f'"{name}"' in listed for name in DOMAINS):
            raise RefusedError("OpenSIPS did not take it: its log says why")


def fingerprint(table: str) -> str:
    """Of the certificate in a table, as `openssl x509 -fingerprint -sha256` writes it."""
    text = table.replace("\\n", "\n")
    begin, end = text.index("-----BEGIN CERTIFICATE-----"), "-----END CERTIFICATE-----"
    der = ssl.PEM_cert_to_DER_cert(text[begin : text.index(end)] + end)
    return hashlib.sha256(der).digest().hex(":").upper()


def ask(mi: Path, method: str) -> Any:
    """What OpenSIPS answers to an MI command without parameters.

    Raises:
        RotationError: there is no OpenSIPS, or it does not answer.
        RefusedError: it answers with an error.
    """
    reply = mi.with_name(f"rotate-{os.getpid()}")
    request = f':{reply.name}:{{"jsonrpc":"2.0","id":1,"method":"{method}"}}'
    with ExitStack() as opened:
        try:
            # Each for reading and writing, or at once: nobody's absence can hold us up.
            fifo = os.open(mi, os.O_WRONLY | os.O_NONBLOCK)
            opened.callback(os.close, fifo)
            reply.unlink(missing_ok=True)
            os.mkfifo(reply, 0o600)
            opened.callback(reply.unlink)
            wire = os.open(reply, os.O_RDWR | os.O_NONBLOCK)
            opened.callback(os.close, wire)
            os.write(fifo, request.encode())
        except OSError as error:
            raise RotationError(f"no OpenSIPS answers at {mi}: {error.strerror}") from error
        answer = _answer(wire, time.monotonic() + ANSWER_SECONDS)
    if "result" not in answer:
        raise RefusedError(f"OpenSIPS says to {method}: {answer.get('error')}")
    return answer["result"]


def _answer(wire: int, until: float) -> dict[str, Any]:
    text = b""
    while (left := until - time.monotonic()) > 0 and select.select([wire], [], [], left)[0]:
        text += os.read(wire, 65536)
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        return answer
    raise RotationError(f"OpenSIPS does not answer within {ANSWER_SECONDS:.0f} s")


def attempt(rotation: Rotation, told: str = "") -> str:
    """Once; what is wrong, "" for nothing. Says so unless it was told before."""
    try:
        used = rotation.once()
    except (ValuesError, RotationError, OSError) as error:
        fault = f"the certificate of before stays: {error}"
        if fault != told:
            _say(fault)
        return fault
    if used:
        _say(f"new connections are shown the certificate with SHA-256 fingerprint {used}")
    return ""


def _say(text: str) -> None:
    sys.stderr.write(f"rotate.py: {text}\n")
    sys.stderr.flush()


def watch(rotation: Rotation, every: float) -> None:
    """Until SIGTERM, which the first process of a container ignores by default."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while not rotation.mi.exists():  # OpenSIPS starts at the same time
        time.sleep(every)
    fault = ""
    while True:
        fault = attempt(rotation, fault)
        time.sleep(every)


def main(argv: list[str]) -> int:
    every = None
    try:
        if argv[:1] == ["--every"]:
            every, argv = float(argv[1]), argv[2:]
        folder = Path(argv[1])
    except (IndexError, ValueError):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        values = checked({"folder": str(folder.absolute()), **given_by(argv)})
        if not renewable(values):
            raise ValuesError("tls, tls_reload: are off, so OpenSIPS reads its files at its start")
        rotation = Rotation(values, folder)
        if (owner := rotation.owner) != os.geteuid():
            raise ValuesError(f"run this as OpenSIPS' user (uid {owner}): it reads what is written")
    except (OSError, ValueError) as error:
        _say(f"{argv[0]}: {error}")
        return 1
    if every is None:
        return 1 if attempt(rotation) else 0
    watch(rotation, every)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
