"""What is remembered of a call that is over: its page, packed, and its line in the list."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

from siprec_worker.session.call import RecordedCall
from siprec_worker.session.view import summary, view

_FAST = 1  # zlib's level: a page of 3 kB, at every call's end


@dataclass(frozen=True, slots=True)
class EndedCall:
    """About 1 kB, instead of everything that a call is made of."""

    call_id: str
    sip_call_id: str
    _packed: bytes
    _line: bytes

    @property
    def octets(self) -> int:
        return len(self._packed) + len(self._line)

    @property
    def page(self) -> str:
        """The call's view as JSON, as it was at its end."""
        return zlib.decompress(self._packed).decode()

    @property
    def line(self) -> dict[str, object]:
        """As session.view.summary."""
        line: dict[str, object] = json.loads(self._line)
        return line


def remembered(call: RecordedCall) -> EndedCall:
    """Of a call that has ended."""
    return EndedCall(
        call.identity.call_id,
        call.sip_call_id,
        zlib.compress(_json(view(call)), _FAST),
        _json(summary(call)),
    )


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, default=str).encode(errors="replace")
