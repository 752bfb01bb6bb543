"""What an answering endpoint is told at start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from siprec_worker.protocol.sip.digest import DigestRealm
from siprec_worker.protocol.sip.flow import TLS
from siprec_worker.protocol.sip.gate import Network
from siprec_worker.protocol.sip.uri import joined_host_port

ALLOW: Final = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO"
ACCEPT: Final = (
    "application/sdp, multipart/mixed, application/rs-metadata+xml, application/rs-metadata"
)
SUPPORTED: Final = "siprec, timer"


@dataclass(frozen=True, slots=True)
class UasSettings:
    """`host` and `port` are what peers are told: they must reach this worker. Times in seconds."""

    host: str
    port: int
    tls_port: int = 0  # 0 = no TLS here
    min_answer_delay: float = 0.020  # OpenSIPS loses up to 4 % of forks answered at once
    confirm_after: float = 0.5  # no ACK by then: our own re-INVITE
    rescue_limit: float = 8.0  # no word on it by then: not recorded
    answer_limit: float = 10.0  # an INVITE nobody answers here is refused with 480
    retry_after: int = 5
    max_dialogs: int = 2000
    max_transactions: int = 20_000
    networks: tuple[Network, ...] = ()  # who may ask; empty = everybody
    realm: DigestRealm | None = None  # whose passwords are asked for
    user: str = "srs"
    server: str = "Voicefork"

    def sent_by(self, transport: str) -> str:
        """HOST:PORT of our Via and Contact."""
        return joined_host_port(self.host, self.tls_port if transport == TLS else self.port)

    def contact(self, transport: str, *, secure: bool = False) -> str:
        """`secure`: the peer spoke to a sips: URI (RFC 3261 section 12.1.1)."""
        scheme = "sips" if secure else "sip"
        address = f"{scheme}:{self.user}@{self.sent_by(transport)}"
        return f"<{address};transport={transport}>;+sip.srs"
