"""The public interop corpus: cases, and the bytes of their steps."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siprec_worker.protocol.sip.uri import joined_host_port

_BESIDE = Path(__file__).resolve().parents[4] / "shared"
FOLDER = Path(os.environ.get("VOICEFORK_SHARED", _BESIDE)) / "interop"
_TOP_VIA = re.compile(
    rb"^((?:via|v)[ \t]*:\s*SIP\s*/\s*\d\.\d\s*/\s*)\w+(\s+)[^\s;,]+(?:[ \t]*:[ \t]*\d+)?",
    re.I | re.M,
)
_CONTACT_HOST = re.compile(
    rb"^(contact[ \t]*:[^\n]*?sips?:(?:[^@\s>;]*@)?)[^\s>;:]+(?::\d+)?", re.I | re.M
)
_CSEQ = re.compile(rb"^(cseq[ \t]*:[ \t]*)(\d+)", re.I | re.M)


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    transport: str
    expected: dict[str, Any]
    folder: Path

    @property
    def id(self) -> str:
        return f"{self.name}-{self.transport}"

    @property
    def steps(self) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = self.expected["steps"]
        return steps

    def bytes_of(self, step: dict[str, Any]) -> bytes:
        path: Path = self.folder / step["file"]
        return path.read_bytes()


def cases(kind: str) -> list[Case]:
    """Every case of `sip` or `torture`, once per transport; none where the corpus is absent."""
    return cases_in(FOLDER / kind)


def cases_in(folder: Path) -> list[Case]:
    """Every case of one folder."""
    found = []
    for path in sorted(folder.glob("*.expect.json")):
        expected = json.loads(path.read_text())
        name = path.name.removesuffix(".expect.json")
        found += [Case(name, t, expected, path.parent) for t in expected["transports"]]
    return found


def addressed(raw: bytes, transport: str, host: str, port: int) -> bytes:
    """With the driver's own address in the top Via, and in the Contact (which must be reached)."""
    own = joined_host_port(host, port).encode()
    raw = _TOP_VIA.sub(lambda m: m[1] + transport.upper().encode() + m[2] + own, raw, count=1)
    head, blank, body = raw.partition(b"\r\n\r\n")
    head = _CONTACT_HOST.sub(lambda m: m[1] + own, head, count=1)
    return head + blank + body


def with_cseq(raw: bytes, number: int) -> bytes:
    return _CSEQ.sub(lambda m: m[1] + str(number).encode(), raw, count=1)


def cseq_of(raw: bytes) -> int | None:
    match = _CSEQ.search(raw)
    return int(match[2]) if match else None


def with_length(raw: bytes) -> bytes:
    """Content-Length as the body now is."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    length = str(len(body)).encode()
    head = re.sub(
        rb"^(content-length[ \t]*:[ \t]*)\d+", lambda m: m[1] + length, head, flags=re.I | re.M
    )
    return head + blank + body
