"""What the recording client is told of how its streams arrive: RTCP of one m-line (RFC 3550)."""

from __future__ import annotations

import secrets

from siprec_worker.media.track import Track
from siprec_worker.protocol.rtcp import ReceiverReport, write_goodbye, write_receiver_report
from siprec_worker.session.ports import LegSocket

REPORT_SECONDS = 5.0  # section 6.2: the least interval


class Reporting:
    """Sends from a line's own socket. Nothing is sent before the first packet has come."""

    def __init__(self, track: Track, socket: LegSocket, cname: str) -> None:
        self._track = track
        self._socket = socket
        self._cname = cname
        self._ssrc = secrets.randbits(32)

    def report(self, now: float) -> None:
        """How the stream came since the last report; reads their reports on the way."""
        if (compound := self._compound(now)) is not None:
            self._socket.send_rtcp(compound)

    def say_goodbye(self, now: float) -> None:
        """The last report, with BYE (section 6.6)."""
        if (compound := self._compound(now)) is not None:
            self._socket.send_rtcp(compound + write_goodbye((self._ssrc,)))

    def _compound(self, now: float) -> bytes | None:
        block = self._track.report_block(now)
        if block is None:
            return None
        return write_receiver_report(ReceiverReport(self._ssrc, (block,)), self._cname)
