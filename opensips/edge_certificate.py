"""The certificate of SIP over TLS as a table of OpenSIPS' tls_mgm holds it: its PEM files, checked.

tls_reload leaves out what it cannot use, and then nobody reaches the edge by TLS. So nothing comes
into the table that was not tried before.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edge_values import ValuesError

# tls_mgm's "type": whose side of a connection a domain is.
CLIENT, SERVER = 1, 2
DOMAINS: Final = ("carriers", "outgoing")
_BLOCK = "-----BEGIN ([A-Z0-9 ]*{kind})-----.*?-----END \\1-----"
_CERTIFICATES = re.compile(_BLOCK.format(kind="CERTIFICATE"), re.S)
_KEY = re.compile(_BLOCK.format(kind="PRIVATE KEY"), re.S)


def certificate_rows(values: Mapping[str, Any]) -> list[list[object]]:
    """The rows of both domains, for who calls and for who is called, from the files of the values.

    Raises:
        ValuesError: a file cannot be read, or the key is not the certificate's; says which.
    """
    while True:
        chain, key, authorities = _read(values)
        _try(values)
        if (chain, key, authorities) == _read(values):  # else they are just being written
            break
    verify = int(values["tls_verify"])
    tail = [chain, key, 0, "", authorities, "", "", "", ""]
    return [
        [DOMAINS[0], "*", "*", SERVER, "TLSv1_2-", verify, verify, *tail],
        [DOMAINS[1], "*", "*", CLIENT, "TLSv1_2-", verify, 0, *tail],
    ]


def _read(values: Mapping[str, Any]) -> tuple[str, str, str]:
    """Certificate with chain, key, and authorities ("" without)."""
    return (
        _blocks(values, "tls_certificate", _CERTIFICATES),
        _blocks(values, "tls_key", _KEY),
        _blocks(values, "tls_ca", _CERTIFICATES) if values["tls_ca"] else "",
    )


def _blocks(values: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    """The file's PEM of that kind, without the names and comments that may stand between."""
    try:
        text = Path(values[name]).read_text(errors="replace")
    except OSError as error:
        raise ValuesError(f"{name}: {error}") from error
    found = [match[0] for match in pattern.finditer(text)]
    if not found:
        raise ValuesError(f"{name}: there is none in {values[name]}")
    return "\n".join(found) + "\n"


def _try(values: Mapping[str, Any]) -> None:
    """Uses them as OpenSIPS will."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key, ca = (values[name] for name in ("tls_certificate", "tls_key", "tls_ca"))
    try:
        # Without the password OpenSSL would ask the terminal for it.
        context.load_cert_chain(chain, key, password="")
    except (OSError, ValueError) as error:
        raise ValuesError(f"tls_key: {key} with {chain}: {_reason(error)}") from error
    try:
        if ca:
            context.load_verify_locations(ca)
    except (OSError, ValueError) as error:
        raise ValuesError(f"tls_ca: {ca}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    said = error.reason if isinstance(error, ssl.SSLError) else None
    return said.lower().replace("_", " ") if said else str(error)
