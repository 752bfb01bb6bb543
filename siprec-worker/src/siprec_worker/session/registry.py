"""The calls of this worker: those that live, and the last that ended."""

from __future__ import annotations

from collections import Counter, deque

from siprec_worker.protocol.sip.events import DialogId
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.ended import EndedCall, remembered

REMEMBERED_CALLS = 1000
RTP_COUNTS = ("packets", "lost", "bad", "recovered", "overloaded")  # of media.model.TrackStats


class Calls:
    """Looked up by dialog, by call id or by SIP Call-ID."""

    def __init__(self, most_remembered: int = REMEMBERED_CALLS) -> None:
        self._live: dict[DialogId, RecordedCall] = {}
        self._ended: deque[EndedCall] = deque(maxlen=most_remembered)
        self._rtp_of_ended: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._live)

    def add(self, call: RecordedCall) -> None:
        self._live[call.dialog_id] = call

    def remove(self, call: RecordedCall) -> None:
        """Of a call that has ended: only its page is kept."""
        if self._live.pop(call.dialog_id, None) is not None:
            self._ended.appendleft(remembered(call))
            self._rtp_of_ended += _rtp(call)

    def rtp(self) -> Counter[str]:
        """RTP_COUNTS over all calls there have been."""
        return sum(map(_rtp, self._live.values()), self._rtp_of_ended)

    def by_dialog(self, dialog_id: DialogId) -> RecordedCall | None:
        return self._live.get(dialog_id)

    def live(self) -> list[RecordedCall]:
        return list(self._live.values())

    def ended(self) -> list[EndedCall]:
        """The last first."""
        return list(self._ended)

    def by_call_id(self, call_id: str) -> RecordedCall | None:
        """The newest fork of a call that lives."""
        live = reversed(self._live.values())
        return next((call for call in live if call.identity.call_id == call_id), None)

    def by_sip_call_id(self, sip_call_id: str) -> RecordedCall | None:
        live = reversed(self._live.values())
        return next((call for call in live if call.sip_call_id == sip_call_id), None)

    def ended_by_call_id(self, call_id: str) -> EndedCall | None:
        """The last fork of a call that ended."""
        return next((call for call in self._ended if call.call_id == call_id), None)

    def ended_by_sip_call_id(self, sip_call_id: str) -> EndedCall | None:
        return next((call for call in self._ended if call.sip_call_id == sip_call_id), None)


def _rtp(call: RecordedCall) -> Counter[str]:
    stats = call.audio.stats().values()
    return Counter({name: sum(getattr(leg, name) for leg in stats) for name in RTP_COUNTS})
