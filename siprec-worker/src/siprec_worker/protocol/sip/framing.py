"""A byte stream cut into SIP messages (RFC 3261 section 18.3, RFC 5626 section 4.4.1)."""

from __future__ import annotations

import re

from siprec_worker.errors import SipError, TooLarge
from siprec_worker.protocol.sip.message import MAX_MESSAGE_BYTES

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CONTENT_TYPE = re.compile(rb"^(?:content-type|c)[ \t]*:", re.I | re.M)
_CONTENT_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(\S*)[ \t]*\r?$", re.I | re.M)


class Unframeable(SipError):  # noqa: N818 - names what the stream has become
    """Where the next message begins can no longer be known; `head` may still be refused."""

    def __init__(self, text: str, head: bytes) -> None:
        super().__init__(text)
        self.head = head


class StreamFramer:
    """Feed it what arrives, in any pieces; it returns whole messages.

    Holds at most one message of 64 KiB. After Unframeable or TooLarge the stream is to be closed.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._needed = 0  # length of the message that has begun, once its head is complete
        self._blank_lines = 0  # since the last message
        self._pings = 0

    @property
    def idle(self) -> bool:
        """True between messages."""
        return not self._buffer

    def pings(self) -> int:
        """Keep-alives since the last call: each wants a CRLF back (RFC 5626 section 4.4.1)."""
        pings, self._pings = self._pings, 0
        return pings

    def receive(self, data: bytes) -> list[bytes]:
        """Whole messages that `data` completes; keep-alive CRLFs between them vanish."""
        self._buffer += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        if not self._needed and not self._find_head():
            return None
        if len(self._buffer) < self._needed:
            return None
        message = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        self._needed = self._searched = 0
        return message

    def _find_head(self) -> bool:
        if not self._searched:
            blank = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
            self._blank_lines += self._buffer.count(b"\n", 0, blank)
            self._pings += self._blank_lines // 2
            self._blank_lines %= 2
            del self._buffer[:blank]
        if self._buffer:
            self._blank_lines = 0
        end = _HEAD_END.search(self._buffer, max(0, self._searched - 3))
        if end is None:
            self._searched = len(self._buffer)
            if len(self._buffer) > MAX_MESSAGE_BYTES:
                raise TooLarge(f"{len(self._buffer)} bytes without the end of the headers")
            return False
        head = bytes(self._buffer[: end.end()])
        self._needed = end.end() + _body_length(head)
        if self._needed > MAX_MESSAGE_BYTES:
            raise Unframeable(f"a message of {self._needed} bytes", head)
        return True


def _body_length(head: bytes) -> int:
    """Without Content-Length there is no body: a stream has no other end mark."""
    head = _FOLD.sub(b" ", head)
    lengths = set(_CONTENT_LENGTH.findall(head))
    if not lengths:
        if _CONTENT_TYPE.search(head):  # section 18.3: to be refused with 400
            start_line, _, others = head.partition(b"\n")
            counted = start_line + b"\nContent-Length: missing\r\n" + others
            raise Unframeable("a body without Content-Length", counted)
        return 0
    if len(lengths) > 1 or not (value := lengths.pop()).isdigit() or len(value) > 10:
        raise Unframeable("Content-Length cannot be read", head)
    return int(value)
