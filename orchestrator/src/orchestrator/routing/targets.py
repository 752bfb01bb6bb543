"""Targets in one line of text, and which of them may be asked for from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from orchestrator.model import DialplanEntry, Endpoint, Extension, Queue, SipUri, Target

KINDS = ("queue", "extension", "sip", "endpoint", "number")

# A wildcard never stands for what begins another part of a dial string or URI: `PJSIP/agent-*` must
# not allow `PJSIP/agent-1/sip:00900123@trunk`, nor `sip:*@desk.example` a second host.
_ANY = r"[^/@:;,&|()?=\s]"
# RFC 3261 section 25.1, without passwords and headers; of the parameters only `transport`.
_SIP = re.compile(
    r"sips?:(?P<user>[^@:;?\s]+)@(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?P<port>:[0-9]{1,5})?(?:;transport=[a-zA-Z]+)?",
    re.IGNORECASE | re.ASCII,
)
_SCHEME = re.compile("sips?:", re.IGNORECASE)


def parse_target(text: str) -> Target:
    """queue:NAME, extension:NUMBER[@CONTEXT], sip:…, or TECH/endpoint. Raises ValueError."""
    scheme, _, rest = text.partition(":")
    if scheme == "queue" and rest:
        return Queue(rest)
    if scheme == "extension" and rest:
        number, _, context = rest.partition("@")
        return Extension(number, context)
    if scheme in {"sip", "sips"} and rest:
        return SipUri(text)
    technology, slash, name = text.partition("/")
    if slash and technology and name:
        return Endpoint(text)
    raise ValueError(f"{text!r} is no target: queue:…, extension:…, sip:… or PJSIP/…")


def target_text(target: Target) -> str:
    """As `parse_target` reads it."""
    match target:
        case Queue(name):
            return f"queue:{name}"
        case Extension(number, context):
            return f"extension:{number}@{context}" if context else f"extension:{number}"
        case SipUri(uri):
            return uri
        case Endpoint(name):
            return name


def parse_entry(text: str) -> DialplanEntry:
    """EXTENSION@CONTEXT of the dialplan. Raises ValueError."""
    extension, _, context = text.partition("@")
    if not extension or not context:
        raise ValueError(f"{text!r} is no place in the dialplan: EXTENSION@CONTEXT")
    return DialplanEntry(context, extension)


@dataclass(frozen=True, slots=True)
class AllowList:
    """Patterns by kind (KINDS), beside the targets that the routes themselves name."""

    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def allows(self, target: Target) -> bool:
        match target:
            case Queue(name):
                return self._fits("queue", name)
            case Extension(number, context):
                return self._fits("extension", f"{number}@{context}" if context else number)
            case SipUri(uri):
                parts = _SIP.fullmatch(uri)
                if parts is None:
                    return False
                host = parts["host"].casefold() + (parts["port"] or "")
                return self._fits("sip", f"{parts['user']}@{host}")
            case Endpoint(name):
                return self._fits("endpoint", name)

    def allows_call(self, to: str) -> bool:
        """Whether it may be called from here: a number, or a SIP URI."""
        if _SCHEME.match(to):
            return self.allows(SipUri(to))
        return self._fits("number", to)

    def _fits(self, kind: str, text: str) -> bool:
        return any(_glob(pattern).fullmatch(text) for pattern in self.patterns.get(kind, ()))


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    wild = {"*": f"{_ANY}*", "?": _ANY}
    return re.compile("".join(wild.get(character) or re.escape(character) for character in pattern))
