"""Who may ask: networks, and digest credentials."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.protocol.sip.digest import (
    NONCE_SECONDS,
    DigestCheck,
    DigestRealm,
    authorization,
)
from siprec_worker.protocol.sip.flow import Flow
from siprec_worker.protocol.sip.message import Request
from siprec_worker.protocol.sip.parsing import parse_message
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.sdp import sdp
from tests.builders.sip import ANSWER, Bench, in_dialog, invite, request

URI = "sip:srs@127.0.0.1:5090"
REALM = DigestRealm("voicefork", {"edge": "pass:word", "zoë": "ünïcode"})
GATED = UasSettings("127.0.0.1", 5090, realm=REALM)


def challenged(bench: Bench, body: bytes = b"") -> list[str]:
    bench.receive(invite(body=body or sdp(), branch="z9hG4bKfirst"))
    assert bench.statuses[-1] == 401
    return bench.responses[-1].headers.all("www-authenticate")


def signed(
    challenge: str,
    *,
    nc: int = 1,
    user: str = "edge",
    password: str = "pass:word",
    cseq: int = 3,
) -> bytes:
    answer = authorization(
        challenge, user=user, password=password, method="INVITE", uri=URI, cnonce="c0ffee",
        count=nc,
    )  # fmt: skip
    branch = f"z9hG4bKauth{cseq}"
    return invite(body=sdp(), branch=branch, cseq=cseq, headers=[("Authorization", answer)])


def test_sha_256_is_offered_before_md5() -> None:
    offered = challenged(Bench(GATED))
    assert [value.rpartition("=")[2] for value in offered] == ["SHA-256", "MD5"]
    assert all('qop="auth"' in value and 'realm="voicefork"' in value for value in offered)


@pytest.mark.parametrize("algorithm", [0, 1])
@pytest.mark.parametrize("user", REALM.users)
def test_a_user_with_the_right_password_is_let_in(algorithm: int, user: str) -> None:
    bench = Bench(GATED)
    challenge = challenged(bench)[algorithm]
    bench.invited(signed(challenge, user=user, password=REALM.users[user]))
    assert bench.uas.dialog_count == 1


@pytest.mark.parametrize(
    "wrong",
    [{"password": "other"}, {"user": "nobody"}, {"user": "nobody", "password": "\0"}],
)
def test_wrong_credentials_are_challenged_again_without_stale(wrong: dict[str, str]) -> None:
    bench = Bench(GATED)
    bench.receive(signed(challenged(bench)[0], **wrong))  # type: ignore[arg-type]
    assert bench.statuses == [401, 401]
    assert "stale" not in (bench.responses[-1].headers.get("www-authenticate") or "")
    assert bench.uas.gate.digest is not None
    assert bench.uas.gate.digest.failures == 1


def test_a_count_that_was_there_before_is_a_replay() -> None:
    bench = Bench(GATED)
    challenge = challenged(bench)[0]
    bench.invited(signed(challenge, nc=2))
    bench.receive(signed(challenge, nc=2, cseq=4))
    assert bench.statuses[-1] == 401
    assert "stale=true" in (bench.responses[-1].headers.get("www-authenticate") or "")
    bench.receive(signed(challenge, nc=1, cseq=5))
    assert bench.statuses[-1] == 401


def test_a_nonce_lives_its_time() -> None:
    bench = Bench(GATED)
    challenge = challenged(bench)[0]
    bench.now = NONCE_SECONDS - 1
    bench.invited(signed(challenge, nc=1))
    bench.now = NONCE_SECONDS + 1
    bench.receive(signed(challenge, nc=2, cseq=4))
    assert "stale=true" in (bench.responses[-1].headers.get("www-authenticate") or "")


def test_a_nonce_of_somebody_else_is_stale() -> None:
    bench = Bench(GATED)
    challenge = challenged(bench)[0].replace('nonce="0-', 'nonce="1-')
    bench.receive(signed(challenge))
    assert "stale=true" in (bench.responses[-1].headers.get("www-authenticate") or "")


def test_a_body_for_another_uri_is_refused() -> None:
    bench = Bench(GATED)
    stolen = signed(challenged(bench)[0]).replace(URI.encode(), b"sip:other@127.0.0.1", 1)
    bench.receive(stolen)
    assert bench.statuses[-1] == 401


def test_forgotten_nonces_cannot_be_used_again() -> None:
    tokens = count(1)
    check = DigestCheck(REALM, lambda: f"t{next(tokens)}", limit=5)
    first = _allowed(check, now=1.0)
    for number in range(5):
        _allowed(check, now=2.0 + number)
    assert check.challenge(first, 20.0) is not None


def _allowed(check: DigestCheck, now: float) -> Request:
    plain = parse_message(request("INVITE", uri=URI))
    assert isinstance(plain, Request)
    headers = check.challenge(plain, now)
    assert headers is not None
    answered = parse_message(signed(headers[0][1]))
    assert isinstance(answered, Request)
    assert check.challenge(answered, now) is None
    return answered


def test_options_bye_cancel_and_ack_need_no_credentials() -> None:
    bench = Bench(GATED)
    event = bench.invited(signed(challenged(bench)[0]))
    assert bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.run_until(0.1)
    bench.receive(request("OPTIONS", branch="z9hG4bKo"))
    bench.ack(event)
    bench.receive(in_dialog(event, "BYE", 9))
    assert bench.statuses[-2:] == [200, 200]


def test_a_reinvite_needs_credentials() -> None:
    bench = Bench(GATED)
    event = bench.invited(signed(challenged(bench)[0]))
    assert bench.uas.accept(event.dialog_id, ANSWER, bench.now)
    bench.run_until(0.1)
    bench.ack(event)
    bench.receive(in_dialog(event, "INVITE", 9, sdp()))
    assert bench.statuses[-1] == 401


@given(st.text(max_size=200))
def test_any_authorization_is_challenged_and_nothing_else(field: str) -> None:
    bench = Bench(GATED)
    text = "".join(char for char in field if char.isprintable())
    bench.receive(invite(body=sdp(), headers=[("Authorization", f"Digest {text}")]))
    assert bench.statuses == [401]


@given(
    st.dictionaries(
        st.sampled_from(["username", "realm", "nonce", "uri", "nc", "cnonce", "qop", "algorithm",
                         "response"]),
        st.text(st.characters(codec="utf-8", exclude_characters='\r\n"\\'), max_size=20),
    )
)  # fmt: skip
def test_made_up_credentials_let_nobody_in(given_fields: dict[str, str]) -> None:
    fields = {"realm": "voicefork", "qop": "auth", "uri": URI, "nc": "00000001", **given_fields}
    text = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    bench = Bench(GATED)
    bench.receive(invite(body=sdp(), headers=[("Authorization", f"Digest {text}")]))
    assert bench.statuses in ([401], [400])
    assert bench.uas.dialog_count == 0


# --- networks --------------------------------------------------------------------------------

NEAR = UasSettings(
    "127.0.0.1", 5090, networks=(ip_network("127.0.0.0/29"), ip_network("2001:db8::/32"))
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.7", "2001:db8::7", "::ffff:127.0.0.1"])
def test_a_known_network_may_ask(host: str) -> None:
    bench = Bench(NEAR, Flow("udp", host, 5060))
    bench.receive(request("OPTIONS"))
    assert bench.statuses == [200]


@pytest.mark.parametrize("host", ["127.0.0.8", "192.0.2.1", "::1", "no address"])
@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "BYE", "CANCEL"])
def test_everybody_else_gets_403(host: str, method: str) -> None:
    bench = Bench(NEAR, Flow("udp", host, 5060))
    bench.receive(request(method))
    assert bench.statuses == [403]
    assert bench.uas.gate.refused == 1


def test_an_ack_from_elsewhere_is_not_heard() -> None:
    bench = Bench(NEAR)
    event = bench.accepted(invite(body=sdp()), ANSWER)
    bench.flow = Flow("udp", "192.0.2.1", 5060)
    bench.events.clear()
    bench.ack(event)
    assert bench.events == []
