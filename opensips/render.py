#!/usr/bin/env python3
"""Renders OpenSIPS' configuration and tables from one file of values (Python 3.11, nothing else).

    render.py values.json /etc/opensips [name=value ...]

A value in the environment, EDGE_REDIS or EDGE_DATABASE, goes before the file's: arguments can be
read by everybody on the machine, and these two have passwords in them.

Templates know two things. `@NAME@` is replaced by the value `name`; lines between `#@if NAME` (or
`#@if not NAME`) and `#@end` stay where the value is given and not "0". Blocks do not nest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge_certificate import certificate_rows
from edge_values import ValuesError, checked

HERE = Path(__file__).resolve().parent
SECRETS = {"redis": "EDGE_REDIS", "database": "EDGE_DATABASE"}
_PLACE = re.compile(r"@([A-Z][A-Z0-9_]*)@")
_BLOCK = re.compile(r"^[ \t]*#@(if|end)\b[ \t]*(not[ \t]+)?([A-Z][A-Z0-9_]*)?[ \t]*$")

# Groups of addresses (permissions) and sets of destinations (dispatcher); workers have a table, and
# with it a partition, of their own.
PBX, TRUNKS = 1, 2
WORKERS = 1
DESTINATIONS = (
    "id(int,auto) setid(int) destination(string) socket(string,null) state(int) probe_mode(int) "
    "weight(string) priority(int) attrs(string,null) description(string,null)"
)
TABLES = {
    "version": "table_name(string) table_version(int)",
    "address": (
        "id(int,auto) grp(int) ip(string) mask(int) port(int) proto(string) pattern(string,null) "
        "context_info(string,null)"
    ),
    "dispatcher": DESTINATIONS,
    "workers": DESTINATIONS,
    "tls_mgm": (
        "id(int,auto) domain(string) match_ip_address(string,null) match_sip_domain(string,null) "
        "type(int) method(string,null) verify_cert(int,null) require_cert(int,null) "
        "certificate(blob,null) private_key(blob,null) crl_check_all(int,null) "
        "crl_dir(string,null) ca_list(blob,null) ca_dir(string,null) cipher_list(string,null) "
        "dh_params(blob,null) ec_curve(string,null)"
    ),
}
VERSIONS = {"address": 5, "dispatcher": 9, "workers": 9, "tls_mgm": 3}


def fill(template: str, values: Mapping[str, str | None], name: str = "template") -> str:
    """The template with its places and blocks filled in.

    Raises:
        ValuesError: it names a value that does not exist or is off, or a block is open or nested.
    """
    lines: list[str] = []
    block: bool | None = None
    for number, line in enumerate(template.splitlines(), 1):
        where = f"{name}:{number}"
        if mark := _BLOCK.match(line):
            if (mark[1] == "if") == (block is not None) or (mark[1] == "if") != bool(mark[3]):
                raise ValuesError(f"{where}: a block that is open, or none that is")
            block = _holds(mark, values, where) if mark[1] == "if" else None
        elif block is not False:
            lines.append(_filled(line, values, where))
    if block is not None:
        raise ValuesError(f"{name}: a block without an end")
    return "\n".join(lines) + "\n"


def _holds(mark: re.Match[str], values: Mapping[str, str | None], where: str) -> bool:
    if mark[3] not in values:
        raise ValuesError(f"{where}: there is no value {mark[3]}")
    return (values[mark[3]] in (None, "0")) == bool(mark[2])


def _filled(line: str, values: Mapping[str, str | None], where: str) -> str:
    for name in _PLACE.findall(line):
        if values.get(name) is None:
            raise ValuesError(f"{where}: there is no value {name}, or it is off")
    return _PLACE.sub(lambda place: str(values[place[1]]), line)


def places(values: Mapping[str, Any]) -> dict[str, str | None]:
    """What the templates can name: the scalars, and what follows from the lists."""
    result = {name.upper(): v for name, v in values.items() if not isinstance(v, list)}
    numbers = "|".join(re.escape(entry["value"]) for entry in values["emergency"])
    # Escapes are OpenSIPS' own matter in a string: a class needs none.
    numbers = re.sub(r"\\(.)", r"[\1]", numbers)
    engines = " ".join(f"udp:{entry['value']}" for entry in values["rtpengines"])
    metrics_host, _, metrics_port = values["metrics"].rpartition(":")
    database = values["database"] or ""
    result |= {
        "BEFORE_4": "1" if values["release"] == "3.6" else "0",
        "EMERGENCY": f"^({numbers})$" if numbers else None,
        "RTPENGINES": engines,
        "MI_FOLDER": values["mi"].rpartition("/")[0],
        "LAST_RESORT": pbx_uri(values["pbx"][0]),
        "METRICS_HOST": metrics_host,
        "METRICS_PORT": metrics_port,
        "DATABASE_MODULE": f"db_{database.partition(':')[0]}" if database else None,
        "PUBLIC": values["advertised"] or values["sip"],
        "POOL_PICK": pool_call(str(values["redis_version"]), "vf_pick"),
        "POOL_OWNER": pool_call(str(values["redis_version"]), "vf_owner"),
        "TLS_TABLE": "1" if renewable(values) else None,
        "TLS_FILES": "1" if values["tls"] and not renewable(values) else None,
        "TLS_FILES_CA": values["tls_ca"] if values["tls"] and not renewable(values) else None,
    }
    return result


def pbx_uri(node: Mapping[str, Any]) -> str:
    """A PBX node's SIP URI."""
    return f"sip:{node['address']};transport={node['transport']}"


def pool_call(redis_version: str, function: str) -> str:
    """How OpenSIPS calls the pool: a function of Redis 7, or Redis 6's script by its hash."""
    if redis_version != "6":
        return f"FCALL {function} 0"
    script = (HERE / "pool.lua").read_bytes().partition(b"\n")[2]
    return f"EVALSHA {hashlib.sha1(script).hexdigest()} 0 {function}"


def renewable(values: Mapping[str, Any]) -> bool:
    """Whether the certificate is in a table, which OpenSIPS can be told to read again."""
    return bool(values["tls"]) and values["tls_reload"] == "1"


def tables(values: Mapping[str, Any]) -> dict[str, str]:
    """The text of the db_text tables: who may send, where calls and forks can go, the certificate.

    Raises:
        ValuesError: the certificate is to be in a table, and its files are not usable.
    """
    rows: dict[str, list[list[object]]] = {"address": [], "dispatcher": [], "workers": []}
    for node in values["pbx"]:
        host, _, _ = node["address"].rpartition(":")
        for place in node.get("sources", [f"{host} 32 0"]):
            rows["address"].append([PBX, *place.split(), "any", "", ""])
        rows["dispatcher"].append([PBX, pbx_uri(node), "", 0, 1, node["weight"], 0, "probe=1", ""])
    for rank, trunk in enumerate(values["trunks"]):
        attrs = _attrs(trunk)
        rows["address"] += [[TRUNKS, *s.split(), "any", "", attrs] for s in trunk["sources"]]
        if trunk["out"]:
            probe, priority = int(trunk["probe"]), len(values["trunks"]) - rank
            rows["dispatcher"].append([TRUNKS, trunk["out"], "", 0, probe, 1, priority, attrs, ""])
    for worker in values["workers"]:
        rows["workers"].append([WORKERS, worker["value"], "", 0, 1, 1, 0, "", ""])
    if renewable(values):
        rows["tls_mgm"] = certificate_rows(values)
    text = {name: _table(name, ([i, *row] for i, row in enumerate(rows[name], 1))) for name in rows}
    return {**text, "version": _table("version", ([n, v] for n, v in VERSIONS.items()))}


def _attrs(trunk: Mapping[str, Any]) -> str:
    keys = ("name", "tenant", "fork", "percent", "calls_per_second", "nat", "srtp", "probe")
    return ";".join(f"{key}={trunk[key]}" for key in keys)


def _table(name: str, rows: Iterable[Iterable[object]]) -> str:
    lines = [":".join(_cell(value) for value in row) for row in rows]
    return "\n".join([TABLES[name], *lines]) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace(":", "\\:").replace("\n", "\\n")


def render(given: Mapping[str, object], into: Path) -> Path:
    """Writes the whole configuration below `into`; returns the path of opensips.cfg.

    Raises:
        ValuesError: the values, or a template, are not usable. Nothing was written then.
    """
    values = checked({"folder": str(into.absolute()), **given})
    named = places(values)
    files = {f"tables/{name}": text for name, text in tables(values).items()}
    for template in (HERE / "opensips.cfg.tmpl", *sorted((HERE / "routes").glob("*.cfg"))):
        name = str(template.relative_to(HERE))
        files[name.removesuffix(".tmpl")] = fill(template.read_text(), named, name)
    for name, text in files.items():
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Passwords of Redis and the database are in it, and the certificate's key.
        target.touch(mode=0o600)
        target.write_text(text)
    return into / "opensips.cfg"


def given_by(argv: list[str]) -> dict[str, object]:
    """The values of a command line: file, folder, settings; and of the environment.

    Raises:
        ValueError, OSError: the file, or a setting, cannot be read.
    """
    given: dict[str, object] = json.loads(Path(argv[0]).read_text())
    given |= {n: os.environ[e] for n, e in SECRETS.items() if os.environ.get(e)}
    for setting in argv[2:]:
        name, is_set, value = setting.partition("=")
        if not is_set:
            raise ValuesError(f"{setting}: is not name=value")
        given[name] = value
    return given


def main(argv: list[str]) -> int:
    if len(argv) < 2:  # noqa: PLR2004 - values and folder
        sys.stderr.write(f"{__doc__}\n")
        return 2
    try:
        render(given_by(argv), Path(argv[1]))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"render.py: {argv[0]}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
