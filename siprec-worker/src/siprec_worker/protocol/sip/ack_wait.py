"""Waiting for the ACK to a 2xx (RFC 3261 section 13.3.1.4), and rescuing a dialog without one."""

from __future__ import annotations

from enum import Enum

from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.transaction import T1, T2, TransactionKey

_GLARE_PAUSE = 1.0  # seconds; RFC 3261 section 14.1 wants 0..2 for who did not make the Call-ID


class Due(Enum):
    RESEND = "send the 2xx again"
    RESCUE = "send a re-INVITE"
    RESCUE_FAILED = "nobody answered the re-INVITE"
    GIVE_UP = "no ACK"


class AckWait:
    """From the 2xx to its ACK. Only an initial INVITE's dialog is rescued.

    OpenSIPS sometimes loses a 200 for good and never ACKs it, however often it is sent again; a
    re-INVITE within the dialog brings such a recording to life.
    """

    def __init__(
        self, key: TransactionKey, cseq: int, initial: bool, settings: UasSettings, now: float
    ) -> None:
        self.key = key
        self.cseq = cseq
        self.initial = initial
        self.rescuing = False
        self._limit = settings.rescue_limit
        self._interval = T1
        self._resend_at = now + T1
        self._give_up_at = now + 64 * T1
        self._rescue_at = now + settings.confirm_after if initial else None
        self._rescue_ends_at: float | None = None

    def next_timeout(self) -> float:
        times = (self._resend_at, self._give_up_at, self._rescue_at, self._rescue_ends_at)
        return min(time for time in times if time is not None)

    def handle_timeout(self, now: float) -> list[Due]:
        if self._rescue_ends_at is not None and now >= self._rescue_ends_at:
            return [Due.RESCUE_FAILED]
        if now >= self._give_up_at:
            return [Due.GIVE_UP]
        due = []
        if now >= self._resend_at:
            self._interval = min(2 * self._interval, T2)
            self._resend_at = now + self._interval
            due.append(Due.RESEND)
        if self._rescue_at is not None and now >= self._rescue_at:
            self._rescue_at = None
            self._rescue_ends_at = self._rescue_ends_at or now + self._limit
            due.append(Due.RESCUE)
        return due

    def rescue_later(self, now: float) -> None:
        """After a 491: the peer's own ACK or re-INVITE is under way."""
        self._rescue_at = now + _GLARE_PAUSE
