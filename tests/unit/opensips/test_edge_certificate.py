"""The certificate comes into OpenSIPS' table as its files are, or not at all."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import rotate
from edge_certificate import DOMAINS, certificate_rows
from edge_values import ValuesError, checked
from render import TABLES, places, render
from rotate import fingerprint, main

from tests.builders.certificates import Authority

Values = Mapping[str, object]


def with_defaults(values: Values) -> dict[str, Any]:
    return checked({"folder": "/etc/opensips", **values})


def cells(table: str) -> list[list[str]]:
    """The rows below the columns' names, unescaped as db_text does it."""
    rows = [re.split(r"(?<!\\):", line) for line in table.splitlines()[1:]]
    return [[cell.replace("\\:", ":").replace("\\n", "\n") for cell in row] for row in rows]


def test_both_ways_have_the_files_as_they_are(renewable: Values, tmp_path: Path) -> None:
    render(renewable, tmp_path)
    table = tmp_path / "tables/tls_mgm"
    carriers, outgoing = cells(table.read_text())
    names = re.findall(r"(\w+)\(", TABLES["tls_mgm"])
    told = dict(zip(names, carriers, strict=True))
    assert told["certificate"] == Path(str(renewable["tls_certificate"])).read_text()
    assert told["private_key"] == Path(str(renewable["tls_key"])).read_text()
    assert told["ca_list"] == told["certificate"]
    assert (told["verify_cert"], told["require_cert"]) == ("1", "1")
    assert carriers[names.index("certificate") :] == outgoing[names.index("certificate") :]
    assert [told["type"], outgoing[names.index("type")]] == ["2", "1"]
    assert stat.S_IMODE(table.stat().st_mode) == 0o600


def test_the_files_are_named_in_the_configuration_or_are_in_the_table(renewable: Values) -> None:
    in_table = places(with_defaults(renewable))
    in_files = places(with_defaults({**renewable, "tls_reload": False}))
    names = ("TLS_TABLE", "TLS_FILES", "TLS_FILES_CA")
    assert [in_table[name] for name in names] == ["1", None, None]
    assert [in_files[name] for name in names] == [None, "1", renewable["tls_ca"]]
    without_tls = places(with_defaults({**renewable, "trunks": [{"name": "a"}], "tls": None}))
    assert [without_tls[name] for name in names] == [None, None, None]


def test_what_stands_around_the_pem_is_left_out(renewable: Values, tmp_path: Path) -> None:
    certificate = Path(str(renewable["tls_certificate"])).read_text()
    (tmp_path / "chain.pem").write_text(f"Bag: a\\b\n{certificate}subject: x\n{certificate}")
    values = with_defaults({**renewable, "tls_certificate": str(tmp_path / "chain.pem")})
    assert certificate_rows(values)[0][7] == certificate * 2


BAD = [
    ("tls_certificate", None, "tls_certificate: .*No such file"),
    ("tls_key", "nothing\n", "tls_key: there is none in "),
    ("tls_ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "tls_ca: /"),
]


@pytest.mark.parametrize(("name", "text", "error"), BAD, ids=[name for name, _, _ in BAD])
def test_a_file_that_is_no_use_is_named(
    name: str, text: str | None, error: str, renewable: Values, tmp_path: Path
) -> None:
    path = tmp_path / "file.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValuesError, match=error):
        render({**renewable, name: str(path)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_key_of_another_certificate_is_told(
    renewable: Values, authority: Authority, tmp_path: Path
) -> None:
    other = str(authority.sign("other").key)
    with pytest.raises(ValuesError, match=f"tls_key: {other} with .*: key values mismatch"):
        render({**renewable, "tls_key": other}, tmp_path / "out")


def test_the_fingerprint_is_of_the_first_certificate(renewable: Values, tmp_path: Path) -> None:
    render(renewable, tmp_path)
    shown = fingerprint((tmp_path / "tables/tls_mgm").read_text())
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", shown)


def test_a_certificate_that_is_not_in_a_table_is_not_rotated(
    renewable: Values, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "values.json").write_text(json.dumps({**renewable, "tls_reload": False}))
    assert main([f"{tmp_path}/values.json", f"{tmp_path}/out"]) == 1
    assert "tls_reload: are off" in capsys.readouterr().err


def test_a_table_that_opensips_could_not_read_is_not_written(
    renewable: Values,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Hooks of who renews certificates run as root."""
    (tmp_path / "values.json").write_text(json.dumps(renewable))
    render(renewable, tmp_path / "out")
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert main([f"{tmp_path}/values.json", f"{tmp_path}/out"]) == 1
    assert f"run this as OpenSIPS' user (uid {owner})" in capsys.readouterr().err


class Unable:
    """An OpenSIPS that can use no certificate for a while, and says OK to all."""

    def __init__(self, tables: Path) -> None:
        self.table = tables / "tls_mgm"
        self.is_able = False
        self.read: list[str] = []

    def ask(self, _: Path, method: str) -> object:
        if method == "tls_reload":
            self.read.append(self.table.read_text())
            return "OK"
        return [{"name": name} for name in DOMAINS] if self.is_able else []


def test_an_opensips_that_does_not_take_the_old_one_back_either_is_asked_again(
    renewable: Values, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(renewable, tmp_path)
    opensips = Unable(tmp_path / "tables")
    monkeypatch.setattr(rotate, "ask", opensips.ask)
    new = authority.sign("renewed")
    files = {"tls_certificate": str(new.certificate), "tls_key": str(new.key)}
    rotation = rotate.Rotation(with_defaults({**renewable, **files}), tmp_path)
    before = opensips.table.read_text()
    with pytest.raises(rotate.RefusedError):
        rotation.once()
    assert opensips.table.read_text() == before == opensips.read[-1]
    opensips.is_able = True
    assert rotation.once() == fingerprint(opensips.table.read_text())
    assert opensips.read[-1] != before


@pytest.mark.parametrize("argv", [[], ["values.json"], ["--every"], ["--every", "x", "v", "f"]])
def test_who_asks_wrongly_is_told_how(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "rotate.py [--every SECONDS]" in capsys.readouterr().err
