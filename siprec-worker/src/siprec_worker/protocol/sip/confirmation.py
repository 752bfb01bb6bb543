"""Whether the peer knows our 200: by its ACK, or by its 200 to our rescuing re-INVITE."""

from __future__ import annotations

from siprec_worker.protocol.sip.ack_wait import AckWait, Due
from siprec_worker.protocol.sip.actions import Resend
from siprec_worker.protocol.sip.events import (
    Confirmed,
    HungUp,
    NotRecorded,
    UasEvent,
    Unconfirmed,
)
from siprec_worker.protocol.sip.in_dialog import description_in
from siprec_worker.protocol.sip.message import Request
from siprec_worker.protocol.sip.own_requests import Asking, DialogRecord, OwnRequests
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.transaction import TransactionKey


class Confirmation:
    """Of one 200 at a time. What its methods return, if anything, is the dialog's end."""

    def __init__(self, record: DialogRecord, own: OwnRequests, settings: UasSettings) -> None:
        self._record = record
        self._own = own
        self._settings = settings
        self._unacked: AckWait | None = None

    @property
    def pending(self) -> bool:
        return self._unacked is not None

    def expect(self, key: TransactionKey, cseq: int, initial: bool, now: float) -> None:
        """The 200 to the INVITE with this key has just been sent."""
        self._unacked = AckWait(key, cseq, initial, self._settings, now)

    def drop(self) -> None:
        self._unacked = None

    def acknowledged(self, ack: Request) -> None:
        if (unacked := self._unacked) is not None and ack.cseq.number == unacked.cseq:
            self._confirmed(description_in(ack))

    def _confirmed(self, body: bytes) -> None:
        self._unacked = None
        self._record.events.append(Confirmed(self._record.state.id, body))

    def answered(self, status: int, body: bytes, now: float) -> UasEvent | None:
        """The answer to the rescuing re-INVITE."""
        unacked = self._unacked
        if unacked is None or not unacked.initial:
            return None  # the ACK came meanwhile: the peer knows the dialog, whatever it says
        if status < 300:
            self._confirmed(body)
        elif status == 491:  # its own ACK or re-INVITE is under way
            unacked.rescue_later(now)
        else:
            return self._not_recorded(f"{status} to the re-INVITE", bye=status != 481)
        return None

    def _not_recorded(self, reason: str, bye: bool = True) -> UasEvent:
        if bye:
            self._own.bye("not confirmed")
        return NotRecorded(self._record.state.id, reason)

    def next_timeout(self) -> float | None:
        return self._unacked.next_timeout() if self._unacked is not None else None

    def handle_timeout(self, now: float) -> UasEvent | None:
        if (unacked := self._unacked) is None:
            return None
        for due in unacked.handle_timeout(now):
            match due:
                case Due.RESEND:
                    self._record.actions.append(Resend(unacked.key))
                case Due.RESCUE:
                    self._rescue(unacked)
                case Due.RESCUE_FAILED:
                    return self._not_recorded("no answer to the re-INVITE")
                case Due.GIVE_UP if unacked.initial:
                    return self._not_recorded("no ACK")
                case Due.GIVE_UP:
                    self._own.bye("no ACK")
                    return HungUp(self._record.state.id, False, "no ACK to a 200")
        return None

    def _rescue(self, unacked: AckWait) -> None:
        if not unacked.rescuing:
            unacked.rescuing = True
            self._record.events.append(Unconfirmed(self._record.state.id))
        offer = self._record.state.local_sdp.encode("utf-8", "surrogateescape")
        self._own.ask(Asking.RESCUE, "INVITE", offer)
