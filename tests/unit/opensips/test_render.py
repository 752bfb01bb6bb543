"""The edge's configuration is rendered from values that are checked, or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from edge_values import SCALARS, ValuesError, checked
from hypothesis import given
from hypothesis import strategies as st
from render import HERE, fill, main, places, render, tables

from tests.builders.edge_values import MAXIMAL, MINIMAL


def with_defaults(values: Mapping[str, object]) -> dict[str, Any]:
    return checked({"folder": "/etc/opensips", **values})


@pytest.mark.parametrize("values", [MINIMAL, MAXIMAL], ids=["minimal", "maximal"])
def test_every_file_is_rendered_completely(values: Mapping[str, object], tmp_path: Path) -> None:
    config = render(values, tmp_path)
    files = [config, *(tmp_path / "routes").iterdir(), *(tmp_path / "tables").iterdir()]
    assert len(files) == 1 + len(list((HERE / "routes").iterdir())) + 4
    for path in files:
        assert not re.search(r"@[A-Z][A-Z0-9_]*@|#@", path.read_text()), path
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_off_is_not_there(tmp_path: Path) -> None:
    render(MINIMAL, tmp_path)
    text = "".join(path.read_text() for path in (tmp_path / "routes").iterdir())
    for name in (
        "cachedb_redis.so",
        "proto_tls.so",
        "event_datagram.so",
        "db_sqlite",
        "record_route",
    ):
        assert name not in text


def test_what_is_on_is_there(tmp_path: Path) -> None:
    render(MAXIMAL, tmp_path)
    text = "".join(path.read_text() for path in (tmp_path / "routes").iterdir())
    for name in (
        "cachedb_redis.so",
        "proto_tls.so",
        "event_datagram.so",
        "db_sqlite",
        "record_route",
    ):
        assert name in text
    assert '"redis:pool://:secret@192.0.2.5:6379/2"' in text
    assert "topology_hiding" not in text


@pytest.mark.parametrize(
    ("release", "flags"), [("3.6", '"BP"'), ("4.0", '"bye-on-timeout,options-ping-caller"')]
)
def test_each_release_is_told_a_dialogs_flags_as_it_knows_them(
    release: str, flags: str, tmp_path: Path
) -> None:
    render({**MINIMAL, "release": release}, tmp_path)
    text = (tmp_path / "routes" / "dialog.cfg").read_text()
    assert flags in text
    assert text.count("$var(flags) = ") == 3


def test_redis_6_is_asked_by_the_scripts_hash() -> None:
    script = (HERE / "pool.lua").read_text().partition("\n")[2]
    sha = hashlib.sha1(script.encode()).hexdigest()
    assert places(with_defaults(MAXIMAL))["POOL_PICK"] == f"EVALSHA {sha} 0 vf_pick"
    assert places(with_defaults(MINIMAL))["POOL_PICK"] == "FCALL vf_pick 0"


def test_a_pbx_without_sources_sends_from_its_address() -> None:
    rows = tables(with_defaults(MINIMAL))["address"].splitlines()
    assert rows[1] == "1:1:192.0.2.10:32:0:any::"
    assert rows[2].startswith(
        "2:2:198.51.100.0:24:0:any::name=acme;tenant=default;fork=1;percent=100"
    )


def test_trunks_are_tried_in_their_order() -> None:
    rows = tables(with_defaults(MAXIMAL))["dispatcher"].splitlines()[1:]
    trunks = [row.split(":") for row in rows if row.split(":")[1] == "2"]
    assert ["a.example.net" in ":".join(row) for row in trunks] == [True, False]
    priorities = [int(re.sub(r"\\:", "", ":".join(row)).split(":")[7]) for row in trunks]
    assert priorities == sorted(priorities, reverse=True)


BAD: list[tuple[Mapping[str, object], str]] = [
    ({"sip": None}, "sip: is required"),
    ({"sipp": "1"}, "sipp: there is no such value"),
    ({"sip": "127.0.0.1"}, "sip: is not host:port"),
    ({"sip": "127.0.0.1:99999"}, "sip: has no port from 1 to 65535"),
    ({"sip": '127.0.0.1:5060"\nexec("x")'}, "sip: has no port"),
    ({"pbx": []}, "pbx: a list with one entry"),
    ({"pbx": [{"address": "a:1", "wieght": 2}]}, r"pbx\[0\].wieght: there is no such value"),
    ({"pbx": [{"address": "pbx.example:1"}]}, r"pbx\[0\].sources: is required"),
    ({"pbx": ["a:1"]}, r"pbx\[0\]: is not an object"),
    ({"trunks": [{"sources": ["1.2.3.4"]}]}, r"trunks\[0\].name: is required"),
    ({"trunks": [{"name": "a", "percent": 101}]}, r"trunks\[0\].percent: is not from 0 to 100"),
    ({"trunks": [{"name": "a", "sources": ["x"]}]}, r"trunks\[0\].sources: is not ip"),
    ({"trunks": [{"name": "a;fork=0"}]}, r"trunks\[0\].name: is not a word"),
    ({"workers": ["sip:a,sip:b"]}, r"workers\[0\]: is not a SIP URI"),
    ({"emergency": ["1|.*"]}, r"emergency\[0\]: is not a telephone number"),
    ({"events": "192.0.2.1:9000"}, "events: is not a loopback address"),
    ({"hide_topology": "maybe"}, "hide_topology: is neither true nor false"),
    ({"log_level": 9}, "log_level: is not from 1 to 4"),
    ({"tls": "127.0.0.1:5061"}, "tls: needs tls_certificate and tls_key, too"),
    (
        {"trunks": [{"name": "a", "out": "sip:192.0.2.9:5061;transport=tls"}]},
        "tls: is required where a trunk",
    ),
    ({"pbx": [{"address": "192.0.2.9:5061", "transport": "tls"}]}, "tls: is required where"),
    ({"tls_reload": True, "release": "4.0"}, "tls_reload: OpenSIPS 4.0.1 aborts"),
    ({"database": "oracle://x"}, "database: is not sqlite"),
]


@pytest.mark.parametrize(("change", "error"), BAD, ids=[error for _, error in BAD])
def test_a_bad_value_is_named(change: Mapping[str, object], error: str, tmp_path: Path) -> None:
    with pytest.raises(ValuesError, match=error):
        render({**MINIMAL, **change}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("rediss://192.0.2.5:6379", "asks for TLS"),
        ("redis://192.0.2.5:6379/?tls_domain=redis", "asks for TLS"),
        ("redis://edge:secret@192.0.2.5:6379", "names a user"),
        ("redis://:a b@192.0.2.5:6379", "has a password that cachedb_redis cannot carry"),
        ("redis://192.0.2.5:6379,192.0.2.6:6379", "is not redis://"),
        ("redis://192.0.2.5:6379/one", "has no number as its database"),
        ("http://192.0.2.5", "is not redis://"),
    ],
)
def test_a_redis_that_opensips_cannot_speak_to_is_refused(url: str, error: str) -> None:
    with pytest.raises(ValuesError, match=error):
        with_defaults({**MINIMAL, "redis": url})


@given(st.text())
def test_no_text_becomes_configuration(text: str) -> None:
    """Whatever a value says, it is refused, or has no sign that could end a string or a cell."""
    for name in SCALARS:
        try:
            values = with_defaults({**MINIMAL, name: text})
        except ValuesError:
            continue
        assert not set(str(values[name])) & set('"\n\r\\; ')


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValuesError) as caught:
        with_defaults({"pbx": [{"address": 5}]})
    assert {line.partition(":")[0] for line in str(caught.value).splitlines()} == {
        *("sip", "pbx[0].address", "trunks", "workers", "rtpengines"),
    }


@pytest.mark.parametrize(
    "template", ["#@if A\nx", "#@end", "#@if A\n#@if A\n#@end\n#@end", "#@if B\n#@end", "#@if"]
)
def test_a_block_that_is_wrong_is_an_error(template: str) -> None:
    with pytest.raises(ValuesError):
        fill(template, {"A": "1"})


def test_blocks_stay_where_the_value_is_on() -> None:
    template = "#@if A\na\n#@end\n#@if not A\nb\n#@end\n# plain\n"
    assert fill(template, {"A": "x"}) == "a\n# plain\n"
    assert fill(template, {"A": "0"}) == "b\n# plain\n"
    assert fill(template, {"A": None}) == "b\n# plain\n"


def test_a_place_without_a_value_is_an_error() -> None:
    with pytest.raises(ValuesError, match="there is no value HOST"):
        fill("socket=@HOST@", {"HOST": None})


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text(json.dumps(MINIMAL))
    assert main([f"{tmp_path}/values.json", f"{tmp_path}/out", "sip=10.1.2.3:5060"]) == 0
    assert "10.1.2.3:5060" in (tmp_path / "out/routes/transport.cfg").read_text()


def test_it_runs_alone_and_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text("{}")
    script = str(HERE / "render.py")
    argv = [sys.executable, "-S", script, f"{tmp_path}/values.json", f"{tmp_path}/out"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "sip: is required" in done.stderr


def test_passwords_may_come_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "values.json").write_text(json.dumps(MINIMAL))
    monkeypatch.setenv("EDGE_REDIS", "redis://:hush@192.0.2.5:6379")
    monkeypatch.setenv("EDGE_DATABASE", "postgres://edge:hush@192.0.2.6/edge")

    assert main([str(tmp_path / "values.json"), str(tmp_path / "out")]) == 0

    assert "redis:pool://:hush@192.0.2.5" in (tmp_path / "out/routes/pool.cfg").read_text()
    assert "edge:hush@192.0.2.6" in (tmp_path / "out/routes/database.cfg").read_text()
