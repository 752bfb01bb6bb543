"""Card data: audio and keys that leave the worker for nobody, told as gaps."""

from __future__ import annotations

from siprec_worker.media.call_audio import TickOutput
from siprec_worker.media.model import AudioChunk, Dtmf, Gap, GapCause

TOLD_EVERY = 8000  # 1/8000 s: a gap is told in such pieces while it lasts


class Withholding:
    """Between a call's audio and its AIs, from the first `begin` on.

    What was spoken before `end` is withheld even if it only comes out of the reorder buffer
    afterwards. Nothing is kept.
    """

    def __init__(self, chunk_ms: int) -> None:
        self._units = 8 * chunk_ms
        self._cause: GapCause | None = None
        self._named = GapCause.REDACTED  # of the gaps that are open
        self._until = -1
        self._open: dict[int, tuple[int, int]] = {}  # leg -> [from, to) not told yet

    @property
    def idle(self) -> bool:
        """Nothing is withheld and no gap is left to tell."""
        return self._cause is None and not self._open and self._until < 0

    def begin(self, cause: GapCause) -> None:
        self._cause = self._named = cause

    def end(self, position: int) -> None:
        """Audio from `position` on may pass."""
        if self._cause is not None:
            self._cause, self._until = None, position

    def filter(self, items: list[TickOutput], position: int) -> list[TickOutput]:
        """What of a tick's output may pass, with the gaps in place of the rest."""
        out: list[TickOutput] = []
        for item in items:
            match item:
                case AudioChunk(pts, legs) if self._hides(pts):
                    for leg in legs:
                        self._hide(leg.handle, pts, pts + self._units, out)
                case Gap(leg, start, end) if self._hides(start):
                    self._hide(leg, start, end, out)
                case Dtmf(_, _, _, pts) if self._hides(pts):
                    pass
                case _:
                    self._tell(out)
                    out.append(item)
        if self._cause is None and position > self._until + TOLD_EVERY:
            self._tell(out)
            self._until = -1
        return out

    def _hides(self, pts: int) -> bool:
        return self._cause is not None or pts < self._until

    def _hide(self, leg: int, start: int, end: int, out: list[TickOutput]) -> None:
        begun = self._open.get(leg, (start, start))[0]
        if end - begun >= TOLD_EVERY:
            self._open.pop(leg, None)
            out.append(Gap(leg, begun, end, self._named))
        else:
            self._open[leg] = (begun, end)

    def _tell(self, out: list[TickOutput]) -> None:
        for leg, (start, end) in self._open.items():
            out.append(Gap(leg, start, end, self._named))
        self._open.clear()
