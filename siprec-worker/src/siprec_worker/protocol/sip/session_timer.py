"""Session timers of a dialog that a peer began (RFC 4028)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from siprec_worker.protocol.sip.message import Headers

MIN_SECONDS = 90  # RFC 4028 section 4
MAX_SECONDS = 86_400
_RETRY_SECONDS = 5.0  # after a refresh that was in something's way


@dataclass(frozen=True, slots=True)
class SessionTimer:
    """Whoever refreshes must do so within `seconds`, or the other hangs up.

    Section 10 lets the other side hang up a third of the interval (32 s at most) early, so that
    both do not; a recorder waits it out, for RTP silence ends dead calls anyway.
    """

    seconds: int
    ours: bool = False  # we refresh

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of the 200. Only where the peer must act it is required to know timers (section 9)."""
        told = ("Session-Expires", f"{self.seconds};refresher={'uas' if self.ours else 'uac'}")
        return (told,) if self.ours else (told, ("Require", "timer"))

    @property
    def request_headers(self) -> tuple[tuple[str, str], ...]:
        """Of an INVITE or UPDATE of ours, where we are the uac: the one who refreshes stays."""
        told = ("Session-Expires", f"{self.seconds};refresher={'uac' if self.ours else 'uas'}")
        return (told, ("Min-SE", str(MIN_SECONDS)))


def agreed_timer(headers: Headers) -> SessionTimer | None:
    """What a request asked for: who refreshes is its choice, and else the peer's task."""
    seconds = _stated_seconds(headers)
    if seconds is None:
        return None
    stated = (headers.get("session-expires") or "").partition(";")[2].replace(" ", "").lower()
    can = "timer" in [value.lower() for value in headers.values("supported")]
    ours = "refresher=uas" in stated
    if not can and not ours:
        return None  # a proxy wants it and the peer cannot: RTP silence does as well
    return SessionTimer(min(seconds, MAX_SECONDS), ours)


def answered_timer(asked: SessionTimer | None, answer: Headers) -> SessionTimer | None:
    """The timer after a 2xx to a refresh of ours: the answer decides (RFC 4028 section 7.2)."""
    seconds = _stated_seconds(answer)
    if asked is None or seconds is None:
        return asked
    stated = (answer.get("session-expires") or "").partition(";")[2].replace(" ", "").lower()
    # There we are the uac.
    return SessionTimer(min(max(seconds, MIN_SECONDS), MAX_SECONDS), "refresher=uas" not in stated)


def lengthened(asked: SessionTimer | None, answer: Headers) -> SessionTimer | None:
    """After a 422: with the peer's Min-SE (RFC 4028 section 7.3)."""
    text = (answer.get("min-se") or "").partition(";")[0].strip()
    if asked is None or not (text.isascii() and text.isdigit()):
        return asked
    return replace(asked, seconds=min(max(asked.seconds, int(text[:9])), MAX_SECONDS))


def too_brief(headers: Headers) -> bool:
    """422 with Min-SE is the answer (section 9), if the peer knows timers at all."""
    seconds = _stated_seconds(headers)
    knows = "timer" in [value.lower() for value in headers.values("supported")]
    return knows and seconds is not None and seconds < MIN_SECONDS


def _stated_seconds(headers: Headers) -> int | None:
    text = (headers.get("session-expires") or "").partition(";")[0].strip()
    return int(text[:9]) if text.isascii() and text.isdigit() else None


class SessionClock:
    """When a dialog's session is to be refreshed by us, and when it is over."""

    def __init__(self) -> None:
        self.timer: SessionTimer | None = None
        self.ends_at: float | None = None
        self._refresh_at: float | None = None

    def restart(self, timer: SessionTimer | None, now: float) -> None:
        """After each 2xx to an INVITE or UPDATE, of either side."""
        self.timer = timer
        self.ends_at = now + timer.seconds if timer else None
        # Half way: section 10.
        self._refresh_at = now + timer.seconds / 2 if timer and timer.ours else None

    def end_after(self, seconds: float, now: float) -> None:
        self.timer, self._refresh_at, self.ends_at = None, None, now + seconds

    def next_timeout(self) -> float | None:
        return min((t for t in (self.ends_at, self._refresh_at) if t is not None), default=None)

    def over(self, now: float) -> bool:
        return self.ends_at is not None and now >= self.ends_at

    def wants_refresh(self, now: float) -> bool:
        """Once when it is time, then every few seconds until restart()."""
        if self._refresh_at is None or now < self._refresh_at:
            return False
        self._refresh_at = now + _RETRY_SECONDS
        return True
