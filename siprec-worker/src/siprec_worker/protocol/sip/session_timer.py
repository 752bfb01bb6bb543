"""Session timers, kept by the peer: RFC 4028 as the answering side."""

from __future__ import annotations

from dataclasses import dataclass

from siprec_worker.protocol.sip.message import Headers

MIN_SECONDS = 90  # RFC 4028 section 4
MAX_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """The peer must refresh within `seconds`, or we hang up.

    Section 10 lets the other side hang up a third of the interval (32 s at most) early, so that
    both do not; a recorder waits it out, for RTP silence ends dead calls anyway.
    """

    seconds: int

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Session-Expires", f"{self.seconds};refresher=uac"), ("Require", "timer"))


def agreed_timer(headers: Headers) -> SessionTimer | None:
    """The peer refreshes, if it asked for a timer and can; else there is none."""
    stated = (headers.get("session-expires") or "").partition(";")
    supported = [value.lower() for value in headers.values("supported")]
    seconds = stated[0].strip()
    if "timer" not in supported or not (seconds.isascii() and seconds.isdigit()):
        return None
    if "refresher=uas" in stated[2].replace(" ", "").lower():
        return None  # we would have to refresh; without the header there is no timer
    return SessionTimer(min(max(int(seconds[:6]), MIN_SECONDS), MAX_SECONDS))
