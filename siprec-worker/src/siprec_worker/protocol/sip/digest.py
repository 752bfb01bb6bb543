"""Digest authentication of requests: RFC 7616 with SIP's RFC 8760, SHA-256 before MD5.

A nonce is signed by us, so a flood of challenges costs no memory. Only nonces that were used are
remembered, each with the highest count it came with: a request that is repeated by a stranger has
a count that was there before.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from siprec_worker.protocol.sip.message import Request
from siprec_worker.protocol.sip.uri import parse_params, split_outside_quotes

NONCE_SECONDS = 300.0
MAX_NONCES = 10_000
_ALGORITHMS: Mapping[str, Callable[[bytes], hashlib._Hash]] = {
    "SHA-256": hashlib.sha256,
    "MD5": hashlib.md5,
}
_NOBODY = "\0"  # no user's password: an unknown user costs the same time


@dataclass(frozen=True, slots=True)
class DigestRealm:
    """Who may call: passwords by user name."""

    realm: str
    users: Mapping[str, str]


class DigestCheck:
    """Judges the Authorization of requests. `new_token` makes unguessable text."""

    def __init__(
        self, realm: DigestRealm, new_token: Callable[[], str], limit: int = MAX_NONCES
    ) -> None:
        self.failures = 0  # credentials that were wrong
        self._realm = realm
        self._new_token = new_token
        self._limit = limit
        self._secret = (new_token() + new_token()).encode()
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._oldest = 0.0  # nonces made before that are no longer taken

    def challenge(self, request: Request, now: float) -> tuple[tuple[str, str], ...] | None:
        """The WWW-Authenticate headers of a 401; None: the request comes from a user."""
        stale = False
        for field in request.headers.all("authorization"):
            match self._judged(request, field, now):
                case "right":
                    return None
                case "stale":
                    stale = True
                case "wrong":
                    self.failures += 1
        nonce = self._new_nonce(now)
        told = f'Digest realm="{self._realm.realm}", nonce="{nonce}", qop="auth"'
        told += ", stale=true" if stale else ""
        return tuple(("WWW-Authenticate", f"{told}, algorithm={name}") for name in _ALGORITHMS)

    def _judged(self, request: Request, field: str, now: float) -> str:
        """`right`, `stale`, `wrong`, or `other` for what is no answer to a challenge of ours."""
        scheme, _, rest = field.strip().partition(" ")
        if scheme.lower() != "digest":
            return "other"
        given = parse_params(split_outside_quotes(rest, ","))
        hashed = _ALGORITHMS.get(given.get("algorithm", "MD5").upper())
        count = given.get("nc", "")
        if hashed is None or given.get("realm") != self._realm.realm:
            return "other"
        if given.get("qop", "").lower() != "auth" or not _is_count(count):
            return "wrong"
        if given.get("uri", "").lower() != request.uri.lower():
            return "wrong"
        if not hmac.compare_digest(
            _response(hashed, self._password(given), request.method, given).encode(),
            given.get("response", "").lower().encode("utf-8", "surrogateescape"),
        ):
            return "wrong"
        if given.get("username") not in self._realm.users:
            return "wrong"
        return "right" if self._fresh(given.get("nonce", ""), int(count, 16), now) else "stale"

    def _password(self, given: Mapping[str, str]) -> str:
        return self._realm.users.get(given.get("username", ""), _NOBODY)

    # --- nonces ------------------------------------------------------------------------------

    def _new_nonce(self, now: float) -> str:
        made = f"{int(now * 1000):x}-{self._new_token()}"
        return f"{made}-{self._signature(made)}"

    def _signature(self, made: str) -> str:
        signed = hmac.new(self._secret, made.encode("utf-8", "surrogateescape"), hashlib.sha256)
        return signed.hexdigest()[:32]

    def _fresh(self, nonce: str, count: int, now: float) -> bool:
        made, _, signature = nonce.rpartition("-")
        expected = self._signature(made).encode()
        if not hmac.compare_digest(expected, signature.encode("utf-8", "surrogateescape")):
            return False
        made_at = _made_at(nonce)
        if now - made_at > NONCE_SECONDS or made_at < self._oldest:
            return False
        if count <= self._counts.get(nonce, 0):
            return False
        self._counts[nonce] = count
        self._counts.move_to_end(nonce)
        while len(self._counts) > self._limit:
            forgotten, _ = self._counts.popitem(last=False)
            self._oldest = max(self._oldest, _made_at(forgotten) + 0.001)
        return True


def _made_at(nonce: str) -> float:
    return int(nonce.partition("-")[0], 16) / 1000


def _is_count(text: str) -> bool:
    return len(text) == 8 and all(char in "0123456789abcdefABCDEF" for char in text)


def _response(
    hashed: Callable[[bytes], hashlib._Hash],
    password: str,
    method: str,
    given: Mapping[str, str],
) -> str:
    """RFC 7616 section 3.4.1, with qop=auth."""

    def digest(*parts: str) -> str:
        return hashed(":".join(parts).encode("utf-8", "surrogateescape")).hexdigest()

    def said(name: str) -> str:
        return given.get(name, "")

    return digest(
        digest(said("username"), said("realm"), password),
        said("nonce"), said("nc"), said("cnonce"), said("qop"),
        digest(method, said("uri")),
    )  # fmt: skip


def authorization(  # noqa: PLR0913 - the answer's parts
    challenge: str,
    *,
    user: str,
    password: str,
    method: str,
    uri: str,
    cnonce: str,
    count: int = 1,
) -> str:
    """The Authorization that answers one WWW-Authenticate value: what a client would send."""
    asked = parse_params(split_outside_quotes(challenge.strip().partition(" ")[2], ","))
    name = asked.get("algorithm", "MD5")
    given = {
        "username": user, "realm": asked.get("realm", ""), "nonce": asked.get("nonce", ""),
        "uri": uri, "cnonce": cnonce, "nc": f"{count:08x}", "qop": "auth",
    }  # fmt: skip
    response = _response(_ALGORITHMS[name.upper()], password, method, given)
    quoted = ("username", "realm", "nonce", "uri", "cnonce")
    fields = [f'{key}="{value}"' if key in quoted else f"{key}={value}" for key, value in
              given.items()]  # fmt: skip
    return f'Digest {", ".join(fields)}, algorithm={name}, response="{response}"'
