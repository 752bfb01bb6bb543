"""The Asterisk Manager Interface on the wire: blocks of `Key: Value` lines, parted by an empty one.

After Asterisk's "AMI v2 specification". What is written can hold no line break: nobody's value may
begin a second action. What is read never raises anything but PeerError, on any bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import md5

from orchestrator.errors import PeerError

GREETING = "Asterisk Call Manager/"
LONGEST_MESSAGE = 256 * 1024  # `dialplan show` of a large PBX is far below
_BREAKS = frozenset("\r\n")


class AmiBroken(PeerError):  # noqa: N818 - named after what happened
    """The other side does not speak AMI."""


@dataclass(frozen=True, slots=True)
class AmiMessage:
    """An event or a response. Keys may come again and again, and in any letter case."""

    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """The first value of that key; empty = not there."""
        wanted = name.casefold()
        return next((value for key, value in self.fields if key.casefold() == wanted), "")

    def all(self, name: str) -> tuple[str, ...]:
        wanted = name.casefold()
        return tuple(value for key, value in self.fields if key.casefold() == wanted)

    def number(self, name: str) -> int | None:
        """None = not there, or no number."""
        value = self.get(name)
        return int(value) if value.isascii() and value.isdigit() else None

    @property
    def event(self) -> str:
        """The event's name; empty for a response."""
        return self.get("Event")

    @property
    def action_id(self) -> str:
        return self.get("ActionID")


def write_action(name: str, action_id: str, fields: Iterable[tuple[str, str]] = ()) -> bytes:
    """Raises ValueError: a key or value with a line break, or a key with a colon."""
    lines = [("Action", name), ("ActionID", action_id), *fields]
    for key, value in lines:
        if not key or ":" in key or _BREAKS & set(key + value):
            raise ValueError(f"AMI field {key!r} cannot be written")
    return ("".join(f"{key}: {value}\r\n" for key, value in lines) + "\r\n").encode()


def challenge_answer(challenge: str, secret: str) -> str:
    """Key of `Login` with AuthType MD5: the secret itself never travels."""
    return md5((challenge + secret).encode(), usedforsecurity=False).hexdigest()


class AmiReader:
    """Takes bytes as they come, gives whole messages."""

    def __init__(self) -> None:
        self.greeting = ""
        self._rest = b""
        self._fields: list[tuple[str, str]] = []
        self._size = 0

    def feed(self, data: bytes) -> list[AmiMessage]:
        """The messages completed by `data`. Raises AmiBroken: a line or message without end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = []
        for raw in lines:
            self._size += len(raw) + 1
            if self._size > LONGEST_MESSAGE:
                raise AmiBroken("AMI: a message without end")
            line = raw.rstrip(b"\r").decode(errors="replace")
            if line:
                self._line(line)
                continue
            if self._fields:
                messages.append(AmiMessage(tuple(self._fields)))
            self._fields, self._size = [], 0
        if len(self._rest) > LONGEST_MESSAGE:
            raise AmiBroken("AMI: a line without end")
        return messages

    def _line(self, line: str) -> None:
        if line.startswith(GREETING) and not self._fields:
            self.greeting = line  # the one line that no empty one follows
            return
        key, colon, value = line.partition(":")
        if colon and key:
            self._fields.append((key, value.removeprefix(" ")))
