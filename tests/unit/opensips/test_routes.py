"""The routes make sense without an OpenSIPS: nothing missing, nothing unused, nothing unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from render import HERE, render

from tests.builders.edge_values import MAXIMAL, MINIMAL
from tests.unit.opensips.modules import CORE, MODULES

REDIS_7 = {**MAXIMAL, "redis_version": 7, "hide_topology": True}
_PATTERN = re.compile(r"\{re\.subst,[^}]*\}")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"')


@pytest.fixture(
    params=[MINIMAL, MAXIMAL, REDIS_7, None], ids=["minimal", "maximal", "redis-7", "renewable"]
)
def files(
    request: pytest.FixtureRequest, renewable: Mapping[str, object], tmp_path: Path
) -> dict[str, str]:
    """The text of each file that is rendered, without comments."""
    values: Mapping[str, object] = request.param or renewable
    config = render(values, tmp_path)
    found = [config, *sorted((tmp_path / "routes").iterdir())]
    return {str(path): uncommented(path.read_text()) for path in found}


def uncommented(text: str) -> str:
    kept = []
    for line in text.splitlines():
        line = _PATTERN.sub("", line)  # noqa: PLW2901 - a quote in it ends nothing
        hidden = _STRING.sub(lambda string: "_" * len(string[0]), line)
        kept.append(line[: hidden.index("#")] if "#" in hidden else line)
    return "\n".join(kept)


def calls(text: str) -> set[str]:
    """Names that are called."""
    bare = re.sub(r"\$\(\w+\(", "(", _STRING.sub('""', text))
    return set(re.findall(r"(?<![$\w.])([a-z_]\w*)\s*\(", bare))


def test_what_is_included_exists_and_every_file_is_included(files: dict[str, str]) -> None:
    config, *routes = files
    assert sorted(re.findall(r'include_file "([^"]+)"', files[config])) == sorted(routes)


def test_every_route_that_is_called_exists_and_every_route_is_called(
    files: dict[str, str],
) -> None:
    text = "\n".join(files.values())
    defined = re.findall(r"^route\[(\w+)\]", text, re.M)
    assert len(defined) == len(set(defined))
    assert set(defined) == set(re.findall(r"\broute\((\w+)\)", text))


@pytest.mark.parametrize(
    ("kind", "armed"),
    [
        ("failure_route", "t_on_failure"),
        ("onreply_route", "t_on_reply"),
        ("branch_route", "t_on_branch"),
    ],
)
def test_every_route_that_waits_is_armed(files: dict[str, str], kind: str, armed: str) -> None:
    text = "\n".join(files.values())
    assert set(re.findall(rf"^{kind}\[(\w+)\]", text, re.M)) == set(
        re.findall(rf'{armed}\("(\w+)"\)', text)
    )


def test_every_module_is_used_by_a_function_or_serves_another(files: dict[str, str]) -> None:
    text = "\n".join(files.values())
    loaded = re.findall(r'loadmodule "(\w+)\.so"', text)
    assert len(loaded) == len(set(loaded))
    for name in loaded:
        module = MODULES[name]
        assert module.why or calls(text) & set(module.functions.split()), name


def test_every_function_is_of_a_module_that_is_loaded(files: dict[str, str]) -> None:
    text = "\n".join(files.values())
    loaded = re.findall(r'loadmodule "(\w+)\.so"', text)
    known = {function for name in loaded for function in MODULES[name].functions.split()}
    assert calls(text) - known - CORE == set()


def test_every_parameter_is_known_and_of_a_module_loaded_before(files: dict[str, str]) -> None:
    text = "\n".join(ordered(files))
    loaded: set[str] = set()
    for line in text.splitlines():
        if load := re.match(r'\s*loadmodule "(\w+)\.so"', line):
            loaded.add(load[1])
        if parameter := re.match(r'\s*modparam\("(\w+)", "(\w+)"', line):
            assert parameter[1] in loaded, line
            assert parameter[2] in MODULES[parameter[1]].parameters.split(), line


def ordered(files: dict[str, str]) -> list[str]:
    """The texts as OpenSIPS reads them."""
    config = next(iter(files))
    return [files[name] for name in re.findall(r'include_file "([^"]+)"', files[config])]


def test_every_counter_starts_at_zero(files: dict[str, str]) -> None:
    text = "\n".join(files.values())
    started = set(re.findall(r'update_stat\("(voicefork:\w+)", 0\)', text))
    assert set(re.findall(r'update_stat\("(voicefork:\w+)", 1\)', text)) <= started


def test_braces_and_quotes_are_even(files: dict[str, str]) -> None:
    for name, text in files.items():
        bare = _STRING.sub("", text)
        assert bare.count("{") == bare.count("}"), name
        assert '"' not in bare, name


def test_management_is_on_no_network(files: dict[str, str]) -> None:
    text = "\n".join(files.values())
    assert not re.search(r'loadmodule "(mi_http|mi_datagram|mi_xmlrpc_ng|mi_html)', text)
    assert '"fifo_mode", 0600' in text


TRAPS = {
    "pool.cfg": ["connect_timeout", "query_timeout", "sent twice", "circuit breaker", "plain text"],
    "recording.cfg": [
        *("allow-transcoding", "RTP/AVP", "100", "20 ms", "fragmented", "unescaped"),
        "whole ticks",
    ],
    "media.cfg": ["no existing rtp relay context", "no leg identified", "without SDP"],
    "observe.cfg": ["no authentication", "START comes again"],
    "drain.cfg": ["abort"],
    "database.cfg": ["kill -9", "sqlite"],
    "dialog.cfg": ["never a shared one", "Refer-Sub"],
    "tables.cfg": ["whole seconds", "4096"],
    "transport.cfg": ["tls_reload passes over"],
}


@pytest.mark.parametrize("name", TRAPS)
def test_the_traps_are_named_where_they_are_avoided(name: str) -> None:
    text = (HERE / "routes" / name).read_text()
    assert [trap for trap in TRAPS[name] if trap not in text] == []
