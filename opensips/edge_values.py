"""What can be said about an edge: the values of its templates, their defaults and their checks.

Every value ends up inside a quoted string or a table of OpenSIPS, where a stray quote, newline or
colon would become configuration. So each is checked against what it is, and never escaped.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import SplitResult, urlsplit


class ValuesError(ValueError):
    """A value is missing, unknown or unusable; the message names it."""


Check = Callable[[object], str]
_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATH = re.compile(r"/[A-Za-z0-9._/+-]{0,200}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_NUMBER = re.compile(r"\+?[0-9*#]{2,20}")
_URI = re.compile(
    r"sip:([A-Za-z0-9._+-]+@)?([A-Za-z0-9.-]+)(:[0-9]{1,5})?(;transport=(udp|tcp|tls))?"
)
_SECRET = re.compile(r"[A-Za-z0-9._~+=-]{0,128}")
_DATABASE = re.compile(r"(sqlite|mysql|postgres)://[A-Za-z0-9._~:/@+=-]{1,300}")
_LAST_PORT = 65535


def _matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValuesError(f"is not {what}: {value!r}")
        return value

    return check


word = _matching(_WORD, "a word of letters, digits, '.', '_' and '-' (64 at most)")
path = _matching(_PATH, "an absolute path of plain characters")
number = _matching(_NUMBER, "a telephone number")
uri = _matching(_URI, "a SIP URI such as sip:192.0.2.1:5060;transport=tcp")
database = _matching(_DATABASE, "sqlite://, mysql:// or postgres:// and plain characters")


def address(value: object) -> str:
    """host:port."""
    host, _, port = str(value).rpartition(":")
    if not isinstance(value, str) or not _HOST.fullmatch(host) or not port.isascii():
        raise ValuesError(f"is not host:port: {value!r}")
    if not port.isdigit() or not 0 < int(port) <= _LAST_PORT:
        raise ValuesError(f"has no port from 1 to {_LAST_PORT}: {value!r}")
    return value


def loopback(value: object) -> str:
    """host:port that other machines cannot reach."""
    host = address(value).rpartition(":")[0]
    if host != "localhost" and not _is_loopback(host):
        raise ValuesError(f"is not a loopback address: {value!r}")
    return str(value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def whole(first: int, last: int) -> Check:
    """A whole number from `first` to `last`."""

    def check(value: object) -> str:
        text = str(value)  # from the command line numbers come as text
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValuesError(f"is not a whole number: {value!r}")
        if not first <= int(text) <= last:
            raise ValuesError(f"is not from {first} to {last}: {value!r}")
        return text

    return check


def switch(value: object) -> str:
    """true or false, as "1" or "0"."""
    if value not in (True, False, "true", "false"):
        raise ValuesError(f"is neither true nor false: {value!r}")
    return "1" if value in (True, "true") else "0"


def one_of(*choices: str) -> Check:
    def check(value: object) -> str:
        if str(value) not in choices:
            raise ValuesError(f"is none of {', '.join(choices)}: {value!r}")
        return str(value)

    return check


def redis(value: object) -> str:
    """redis://[:password@]host:port[/database], as cachedb_redis writes it.

    Raises:
        ValuesError: it wants what cachedb_redis cannot do. TLS above all: built with a hiredis
            without TLS, as Debian's is, the module goes on in plain text and says so at NOTICE.
    """
    parts = urlsplit(str(value))
    if parts.scheme == "rediss" or "tls" in parts.query.lower():
        raise ValuesError(
            "asks for TLS, which OpenSIPS' cachedb_redis drops silently where its hiredis has none "
            "(Debian): run a TLS proxy (stunnel) beside OpenSIPS and name it as redis://127.0.0.1:…"
        )
    if parts.scheme != "redis" or parts.query or parts.fragment or "," in parts.netloc:
        raise ValuesError(f"is not redis://[:password@]host:port[/database]: {value!r}")
    if parts.username:
        raise ValuesError("names a user: cachedb_redis can only say AUTH password, as `default`")
    if not _SECRET.fullmatch(parts.password or ""):
        raise ValuesError("has a password that cachedb_redis cannot carry: use letters and digits")
    if not re.fullmatch(r"(/[0-9]{0,2})?", parts.path):
        raise ValuesError(f"has no number as its database: {parts.path!r}")
    return _redis_url(parts)


def _redis_url(parts: SplitResult) -> str:
    host = address(parts.netloc.rpartition("@")[2] if parts.port else f"{parts.hostname}:6379")
    secret = f":{parts.password}@" if parts.password else ""
    return f"redis:pool://{secret}{host}/{parts.path.removeprefix('/')}"


def source(value: object) -> str:
    """Where requests come from: ip, ip:port or ip/bits, as "ip bits port" (0: any port)."""
    text = str(value)
    ip, _, port = text.partition(":") if "/" not in text else (text, "", "")
    try:
        network = ipaddress.IPv4Network(ip)
        port = whole(1, _LAST_PORT)(port) if port else "0"
    except ValueError as error:
        raise ValuesError(f"is not ip, ip:port or ip/bits (IPv4): {value!r}") from error
    return f"{network.network_address} {network.prefixlen} {port}"


Value = str | list[dict[str, object]] | None
REQUIRED: Final = object()

# name -> (default, check). None as a default: off, and the template's `#@if` leaves it out.
SCALARS: Final[Mapping[str, tuple[object, Check]]] = {
    "release": ("3.6", one_of("3.6", "4.0")),
    "sip": (REQUIRED, address),
    "advertised": (None, address),
    "modules": ("/usr/lib/x86_64-linux-gnu/opensips/modules", path),
    "folder": (REQUIRED, path),
    "log_level": (3, whole(1, 4)),
    "udp_workers": (8, whole(1, 64)),
    "tcp_workers": (4, whole(1, 64)),
    "tls": (None, address),
    "tls_certificate": (None, path),
    "tls_key": (None, path),
    "tls_ca": (None, path),
    "tls_verify": (False, switch),
    "tls_reload": (False, switch),
    "hide_topology": (True, switch),
    "relay_all": (False, switch),
    "redis": (None, redis),
    "redis_version": (7, one_of("6", "7")),
    "zone": ("-", word),
    "database": (None, database),
    "mi": ("/run/opensips/mi", path),
    "metrics": ("127.0.0.1:9434", address),
    "events": (None, loopback),
    "max_message": (16384, whole(1024, 65535)),
    "flood": (60, whole(1, 100000)),
    "calls_per_second": (200, whole(1, 10000)),
    "pbx_silent_seconds": (2, whole(2, 30)),  # 1 may be over at once: whole ticks are counted
}

# name -> (what each entry may say, what an entry without it means)
Fields = Mapping[str, tuple[object, Check]]
LISTS: Final[Mapping[str, Fields | Check]] = {
    "pbx": {
        "address": (REQUIRED, address),
        "transport": ("udp", one_of("udp", "tcp", "tls")),
        "weight": (1, whole(1, 100)),
        "sources": (None, source),
    },
    "trunks": {
        "name": (REQUIRED, word),
        "sources": ([], source),
        "out": (None, uri),
        "tenant": ("default", word),
        "fork": (True, switch),
        "percent": (100, whole(0, 100)),
        "calls_per_second": (50, whole(1, 10000)),
        "nat": (False, switch),
        "srtp": (False, switch),
        "probe": (False, switch),
    },
    "workers": uri,
    "rtpengines": address,
    "emergency": number,
}
LIST_DEFAULTS: Final[Mapping[str, Sequence[object]]] = {"emergency": ("112", "911")}


def checked(given: Mapping[str, object]) -> dict[str, Value]:
    """All values, the missing ones by default: scalars as text, lists as entries.

    Raises:
        ValuesError: names every value that is missing, unknown or unusable, one a line.
    """
    errors = [
        f"{name}: there is no such value" for name in sorted(given.keys() - {*SCALARS, *LISTS})
    ]
    result: dict[str, Value] = {}
    for name, (default, check) in SCALARS.items():
        result[name] = _value(name, given.get(name), default, check, errors)
    for name, fields in LISTS.items():
        result[name] = _entries(name, given, fields, errors)
    errors += _without_sources(result["pbx"])
    if not result["tls"] and "tls" in _transports(result):
        errors.append("tls: is required where a trunk or a PBX node is reached by TLS")
    if result["tls"] and not (result["tls_certificate"] and result["tls_key"]):
        errors.append("tls: needs tls_certificate and tls_key, too")
    if result["tls_reload"] == "1" and result["release"] == "4.0":
        errors.append("tls_reload: OpenSIPS 4.0.1 aborts at it, with all its calls: restart it")
    if errors:
        raise ValuesError("\n".join(errors))
    return result


def _transports(values: Mapping[str, Value]) -> set[str]:
    nodes, trunks = values["pbx"] or [], values["trunks"] or []
    said = {str(node.get("transport")) for node in nodes if isinstance(node, dict)}
    outs = (str(trunk.get("out")) for trunk in trunks if isinstance(trunk, dict))
    return said | {out.rpartition(";transport=")[2] for out in outs}


def _without_sources(nodes: Value) -> list[str]:
    """OpenSIPS passes over a name in its table of addresses without a word: its node would be a
    stranger, whose calls are refused."""
    if not isinstance(nodes, list):
        return []
    return [
        f"pbx[{i}].sources: is required where the address is a name: who sends is known by IP alone"
        for i, node in enumerate(nodes)
        if "sources" not in node and node.get("address") and not _is_ipv4(str(node["address"]))
    ]


def _is_ipv4(where: str) -> bool:
    try:
        ipaddress.IPv4Address(where.rpartition(":")[0])
    except ValueError:
        return False
    return True


def _value(
    name: str, given: object, default: object, check: Check, errors: list[str]
) -> str | None:
    if given is None and default is REQUIRED:
        errors.append(f"{name}: is required")
        return None
    value = default if given is None else given
    try:
        return None if value is None else check(value)
    except ValuesError as error:
        errors.append(f"{name}: {error}")
        return None


def _entries(
    name: str, given: Mapping[str, object], fields: Fields | Check, errors: list[str]
) -> list[dict[str, object]]:
    entries = given.get(name, LIST_DEFAULTS.get(name))
    if not isinstance(entries, list | tuple) or (not entries and name != "emergency"):
        errors.append(f"{name}: a list with one entry or more is required")
        return []
    if callable(fields):
        return [
            {"value": _value(f"{name}[{i}]", entry, REQUIRED, fields, errors)}
            for i, entry in enumerate(entries)
        ]
    return [_entry(f"{name}[{i}]", entry, fields, errors) for i, entry in enumerate(entries)]


def _entry(name: str, entry: object, fields: Fields, errors: list[str]) -> dict[str, object]:
    if not isinstance(entry, Mapping):
        errors.append(f"{name}: is not an object")
        return {}
    errors += [f"{name}.{key}: there is no such value" for key in sorted(entry.keys() - {*fields})]
    result: dict[str, object] = {}
    for key, (default, check) in fields.items():
        given = entry.get(key)
        if key != "sources":
            result[key] = _value(f"{name}.{key}", given, default, check, errors)
        elif (listed := default if given is None else given) is not None:
            places = listed if isinstance(listed, list) else [listed]
            result[key] = [_value(f"{name}.{key}", p, REQUIRED, check, errors) for p in places]
    return result
