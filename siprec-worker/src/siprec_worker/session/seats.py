"""The places of a call's AIs, and how the conversation with each stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from siprec_worker.media.model import AudioFormat
from siprec_worker.session.model import NARROWBAND, Opened, Role


class Stage(Enum):
    """Where the conversation with one AI stands."""

    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"
    OVER = "over"


@dataclass(slots=True)
class Seat:
    """One AI of the call."""

    role: Role
    dial_on_fork: bool
    uplink: AudioFormat = NARROWBAND  # proposed; what it has then chosen is in `opened`
    stage: Stage = Stage.WAITING
    opened: Opened | None = None

    @property
    def hears(self) -> bool:
        """It is open, or was so at another worker and is being resumed."""
        resuming = self.stage is Stage.OPENING and self.opened is not None
        return self.stage is Stage.OPEN or resuming
