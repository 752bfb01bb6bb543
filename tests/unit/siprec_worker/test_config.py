"""The worker's settings: where each comes from, and what is refused."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from siprec_worker.config import HostPort, PortRange, Route, Settings, load
from siprec_worker.errors import SetupError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VOICEFORK_SIP", "VOICEFORK_REDIS", "VOICEFORK_AGENT"):
        monkeypatch.delenv(name, raising=False)


def test_without_any_setting_it_stands_alone_on_loopback() -> None:
    settings = load([], {})
    assert settings.sip.host == "127.0.0.1"
    assert settings.redis == ""
    assert settings.agent == "discard:"


def test_a_flag_beats_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("agent: grpc://file:1\nmax_calls: 7\nredis: redis://file\n")
    monkeypatch.setenv("VOICEFORK_AGENT", "grpc://environment:1")
    monkeypatch.setenv("VOICEFORK_REDIS", "redis://environment")
    settings = load(["--config", str(file), "--agent", "grpc://flag:1"], {})
    assert settings.agent == "grpc://flag:1"
    assert settings.redis == "redis://environment"
    assert settings.max_calls == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sip", "5060"], "HOST:PORT"),
        (["--sip", "127.0.0.1:70000"], "HOST:PORT"),
        (["--rtp-ports", "5-4"], "RTP ports"),
        (["--tick-ms", "13"], "tick_ms"),
        (["--ari", "127.0.0.1:8088"], "http://127.0.0.1:8088"),
        (["--sip", "0.0.0.0:5060"], "--advertise"),
        (["--config", "/nowhere.yaml"], "no such file"),
        (["--grpc-key", "key.pem"], "--grpc-cert"),
        (["--grpc-ca", "ca.pem"], "--grpc-cert"),
    ],
)
def test_a_wrong_setting_is_named(arguments: list[str], told: str) -> None:
    with pytest.raises(SetupError, match=told):
        load(arguments, {})


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("agnet: grpc://x:1\n")
    with pytest.raises(SetupError, match="agnet"):
        load(["--config", str(file)], {})


def test_a_route_takes_what_all_its_conditions_name() -> None:
    route = Route(did=("+1",), tenant=("a", "b"))
    assert route.takes("+1", "b", "any", "")
    assert not route.takes("+2", "b", "any", "")
    assert not route.takes("+1", "c", "any", "")


def test_a_route_named_by_header_is_taken_by_name_only() -> None:
    route = Route(name="gold", did=("+1",))
    assert route.takes("+9", "x", "", "gold")
    assert not route.takes("+1", "x", "", "silver")


def test_two_primaries_on_a_route_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one primary"):
        Route.model_validate({"agents": [{"url": "grpc://a:1"}, {"url": "grpc://b:1"}]})


def test_a_worker_with_a_registry_waits_for_the_talkback() -> None:
    alone, met = Settings(), Settings(redis="redis://x")
    assert alone.dials_on_fork(Route())
    assert not met.dials_on_fork(Route())


def test_routes_are_said_in_one_place() -> None:
    with pytest.raises(ValueError, match="one place"):
        Settings(routes=(Route(),), routes_file=Path("routes.yaml"))


def test_addresses_and_ranges_are_parsed() -> None:
    assert HostPort("[::1]:5060").host == "::1"
    assert (PortRange("30000-30010").first, PortRange("30000-30010").last) == (30000, 30010)


def test_asterisk_nodes_are_named_in_the_file_and_ari_is_the_one_of_the_others(
    tmp_path: Path,
) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("ari_nodes: {ast-1: 'http://10.0.0.1:8088'}\n")
    settings = load(["--config", str(file), "--ari", "http://10.0.0.9:8088"], {})
    assert settings.asterisk_nodes == {"ast-1": "http://10.0.0.1:8088", "": "http://10.0.0.9:8088"}


def test_without_an_asterisk_there_is_no_way_to_the_queue() -> None:
    settings = load([], {})
    assert settings.asterisk_nodes == {}
    assert (settings.queue_context, settings.queue_extension) == ("voicefork-queue", "s")


def test_the_password_of_ari_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VOICEFORK_ARI_PASSWORD", "hush")
    settings = load([], {})
    assert settings.ari_password.get_secret_value() == "hush"
    assert "hush" not in repr(settings)


# --- who may call ----------------------------------------------------------------------------


def test_networks_come_from_a_flag_or_the_file(tmp_path: Path) -> None:
    wanted = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert load(["--sip-allow", "10.0.0.0/8,2001:db8::/32"], {}).sip_allow == wanted
    file = tmp_path / "worker.yaml"
    file.write_text("sip_allow: [10.0.0.0/8, '2001:db8::/32']\n")
    assert load(["--config", str(file)], {}).sip_allow == wanted


def test_users_of_the_file_join_those_of_the_settings(tmp_path: Path) -> None:
    users, file = tmp_path / "users.yaml", tmp_path / "worker.yaml"
    users.write_text("carrier: 12345\n")
    file.write_text(f"sip_users: {{edge: secret}}\nsip_users_file: {users}\n")
    settings = load(["--config", str(file)], {})
    assert settings.passwords() == {"edge": "secret", "carrier": "12345"}
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("text", ["", "- edge", "{"])
def test_a_users_file_that_names_no_user_is_refused(tmp_path: Path, text: str) -> None:
    users = tmp_path / "users.yaml"
    users.write_text(text)
    with pytest.raises(SetupError, match="sip-users-file"):
        load(["--sip-users-file", str(users)], {}).passwords()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sip-tls", "127.0.0.1:5061"], "--sip-tls-certificate"),
        (["--sip-tls-clients", "true"], "--sip-tls-ca"),
        (["--sip-allow", "10.0.0.1/8"], "host bits"),
    ],
)
def test_what_would_not_secure_anything_is_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(SetupError, match=told):
        load(arguments, {})
