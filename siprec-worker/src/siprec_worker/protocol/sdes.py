"""Keys for SRTP in the session description: a=crypto (RFC 4568, GCM by RFC 7714)."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from siprec_worker.errors import SdpError

KEY_AND_SALT_BYTES: Final = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
"""Crypto suites that can be taken, and the bytes of their master key and salt together."""

_LINE = re.compile(r"(\d{1,9})\s+(\S+)\s+(\S+)((?:\s+\S+)*)\s*")
_LIFETIME = re.compile(r"(2\^)?\d{1,20}")
_MKI = re.compile(r"(\d{1,40}):(\d{1,3})")
_MAX_MKI_BYTES = 128
_INLINE = "inline:"


@dataclass(frozen=True, slots=True)
class CryptoAttribute:
    """One a=crypto line."""

    tag: int
    suite: str
    key: bytes = field(repr=False)  # master key, then master salt
    mki_bytes: int = 0  # of each packet, before its authentication tag

    def encode(self) -> str:
        """The attribute's value."""
        return f"{self.tag} {self.suite} {_INLINE}{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What an m-line was agreed to be protected with."""

    suite: str
    theirs: bytes = field(repr=False)
    ours: bytes = field(repr=False)
    mki_bytes: int = 0  # in their packets; ours have none


def parse_crypto(value: str) -> CryptoAttribute:
    """One attribute's value. Raises SdpError for what cannot be understood or served.

    A suite, a second key or a session parameter that is not supported refuses the whole line
    (RFC 4568 section 5.1.2), not its m-line: another line may do.
    """
    match = _LINE.fullmatch(value)
    if match is None:
        raise SdpError("a=crypto without tag, suite and key")
    tag, suite, methods, parameters = match.groups()
    size = KEY_AND_SALT_BYTES.get(suite.upper())
    if size is None:
        raise SdpError(f"crypto suite {suite}")
    for parameter in parameters.split():
        # A window size is a hint; what begins with "-" may be ignored (section 6.3.7).
        if not parameter.upper().startswith(("WSH=", "-")):
            raise SdpError(f"crypto session parameter {parameter}")
    if not methods.lower().startswith(_INLINE) or ";" in methods:
        raise SdpError("a=crypto with other than one inline key")
    text, *rest = methods[len(_INLINE) :].split("|")
    return CryptoAttribute(int(tag), suite.upper(), _read_key(text, size), _read_rest(rest))


def _read_key(text: str, size: int) -> bytes:
    try:
        key = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SdpError("the key of a=crypto is no base64") from None
    if len(key) != size:
        raise SdpError(f"{len(key)} bytes of crypto key where {size} are needed")
    return key


def _read_rest(fields: list[str]) -> int:
    """Lifetime and MKI behind a key; the MKI's length. The lifetime is longer than any call."""
    mki_bytes = 0
    for place, part in enumerate(fields):
        if (mki := _MKI.fullmatch(part)) is not None and place == len(fields) - 1:
            mki_bytes = int(mki[2])
            if not 0 < mki_bytes <= _MAX_MKI_BYTES:
                raise SdpError(f"an MKI of {mki_bytes} bytes")
        elif place or _LIFETIME.fullmatch(part) is None:
            raise SdpError("the key parameters of a=crypto")
    return mki_bytes


def usable_crypto(values: Iterable[str]) -> list[CryptoAttribute]:
    """Those of an m-line's a=crypto that can be served, in the offered order."""
    usable = []
    for value in values:
        try:
            usable.append(parse_crypto(value))
        except SdpError:
            continue
    return usable


def answering_crypto(offered: Iterable[str], known: Iterable[str] = ()) -> CryptoAttribute:
    """The first offered line that can be served, with a key of ours (RFC 4568 section 5.1.2).

    `known`: our own a=crypto until now. Its key is kept, because a new one would begin the peer's
    packet counters anew. Raises SdpError when none can be served.
    """
    usable = usable_crypto(offered)
    if not usable:
        raise SdpError("no a=crypto that can be served")
    tag, suite = usable[0].tag, usable[0].suite
    keys = [own.key for own in usable_crypto(known) if own.suite == suite]
    return CryptoAttribute(tag, suite, keys[0] if keys else _fresh_key(suite))


def _fresh_key(suite: str) -> bytes:
    return secrets.token_bytes(KEY_AND_SALT_BYTES[suite])


def agreed_keys(ours: Iterable[str], theirs: Iterable[str]) -> SrtpKeys | None:
    """The keys of an m-line by both sides' a=crypto; None where they did not agree on one."""
    by_tag = {(crypto.tag, crypto.suite): crypto for crypto in usable_crypto(theirs)}
    for own in usable_crypto(ours):
        other = by_tag.get((own.tag, own.suite))
        if other is not None:
            return SrtpKeys(own.suite, other.key, own.key, other.mki_bytes)
    return None
