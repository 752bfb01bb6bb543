"""The calls of this worker: those that live, and the last that ended."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from siprec_worker.protocol.sip.events import DialogId
from siprec_worker.session.call import RecordedCall

REMEMBERED_CALLS = 1000
RTP_COUNTS = ("packets", "lost", "bad", "recovered", "overloaded")  # of media.model.TrackStats


class Calls:
    """Looked up by dialog, by call id or by SIP Call-ID."""

    def __init__(self, remembered: int = REMEMBERED_CALLS) -> None:
        self._live: dict[DialogId, RecordedCall] = {}
        self._ended: deque[RecordedCall] = deque(maxlen=remembered)
        self._rtp_of_ended: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._live)

    def add(self, call: RecordedCall) -> None:
        self._live[call.dialog_id] = call

    def remove(self, call: RecordedCall) -> None:
        if self._live.pop(call.dialog_id, None) is not None:
            self._ended.appendleft(call)
            self._rtp_of_ended += _rtp(call)

    def rtp(self) -> Counter[str]:
        """RTP_COUNTS over all calls there have been."""
        return sum(map(_rtp, self._live.values()), self._rtp_of_ended)

    def by_dialog(self, dialog_id: DialogId) -> RecordedCall | None:
        return self._live.get(dialog_id)

    def live(self) -> list[RecordedCall]:
        return list(self._live.values())

    def ended(self) -> list[RecordedCall]:
        return list(self._ended)

    def by_call_id(self, call_id: str) -> RecordedCall | None:
        """The newest fork of a call that lives, else the last that ended."""
        return self._newest(c for c in self._all() if c.identity.call_id == call_id)

    def by_sip_call_id(self, sip_call_id: str) -> RecordedCall | None:
        return self._newest(c for c in self._all() if c.sip_call_id == sip_call_id)

    def _all(self) -> Iterator[RecordedCall]:
        yield from reversed(self._live.values())
        yield from self._ended

    def _newest(self, calls: Iterator[RecordedCall]) -> RecordedCall | None:
        return next(calls, None)


def _rtp(call: RecordedCall) -> Counter[str]:
    stats = call.audio.stats().values()
    return Counter({name: sum(getattr(leg, name) for leg in stats) for name in RTP_COUNTS})
