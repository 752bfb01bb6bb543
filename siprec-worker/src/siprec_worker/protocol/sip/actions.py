"""What a dialog wants done on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.transaction import TransactionKey


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer of a server transaction."""

    key: TransactionKey
    response: Response


@dataclass(frozen=True, slots=True)
class Resend:
    """A server transaction's 2xx once more."""

    key: TransactionKey


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of ours that gets a client transaction."""

    request: Request


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """An ACK to a 2xx: sent once, without a transaction."""

    request: Request


Action = Answer | Resend | Ask | Acknowledge
