"""SRTP for our telephones (RFC 3711, keys by RFC 4568): their socket's packets, protected."""

from __future__ import annotations

import base64
import re
import socket
from typing import Any

from pylibsrtp import Error, Policy, Session
from voicefork_cli.sim.caller import CarrierCaller

SUITE = "AES_CM_128_HMAC_SHA1_80"
KEY = bytes(range(30))
CRYPTO = f"a=crypto:1 {SUITE} inline:{base64.b64encode(KEY).decode()}\r\n"
_THEIRS = re.compile(rf"a=crypto:\d+ {SUITE} inline:([A-Za-z0-9+/=]+)".encode())


class SecureSocket:
    """Stands before the socket of an RtpPort: what it sends and gets is in the clear."""

    def __init__(self, plain: socket.socket) -> None:
        self.refused = 0
        self._plain = plain
        self._outbound = Session(Policy(KEY, Policy.SSRC_ANY_OUTBOUND))
        self._inbound: Session | None = None

    def expect(self, answer: bytes) -> None:
        """Takes the other side's key from its SDP."""
        found = _THEIRS.search(answer)
        assert found is not None, answer
        self._inbound = Session(Policy(base64.b64decode(found[1]), Policy.SSRC_ANY_INBOUND))

    def sendto(self, data: bytes, to: tuple[str, int]) -> int:
        return self._plain.sendto(self._outbound.protect(data), to)

    def recvmsg(self, size: int, ancillary: int) -> tuple[bytes, Any, int, Any]:
        data, told, flags, sender = self._plain.recvmsg(size, ancillary)
        clear = b""  # which is no RTP
        try:
            clear = self._inbound.unprotect(data) if self._inbound else b""
        except Error:
            self.refused += 1
        return clear, told, flags, sender


def speak_srtp(caller: CarrierCaller) -> SecureSocket:
    """Makes a caller that has not dialled offer SRTP, and speak it."""
    secure = SecureSocket(caller.rtp.socket)
    caller.rtp.socket = secure  # type: ignore[assignment]
    plain = caller.sdp

    def sdp(direction: str = "sendrecv") -> bytes:
        return plain(direction).replace(b"RTP/AVP", b"RTP/SAVP") + CRYPTO.encode()

    caller.sdp = sdp  # type: ignore[method-assign]
    return secure
