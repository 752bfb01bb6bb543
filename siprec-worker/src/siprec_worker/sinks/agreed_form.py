"""What an AI's Opened makes of what was prepared as it was proposed: legs, rate, positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from siprec_worker.media.model import AudioFormat, Dtmf, Gap, Speech
from siprec_worker.session.model import ClockAnchor, LegKind, Open, Opened, PartyChange, Role
from siprec_worker.sinks import wire

_Event = TypeVar("_Event", bound=wire.Request)


def wanted_legs(opening: Open, opened: Opened) -> frozenset[int]:
    """The legs an AI gets: what it asked for, else all, a PRIMARY without what it says itself."""
    if opened.legs:
        return frozenset(opened.legs)
    deaf_to = LegKind.PBX if opening.role is Role.PRIMARY else None
    return frozenset(leg.handle for leg in opening.legs if leg.kind is not deaf_to)


def bytes_per_ms(audio: AudioFormat) -> int:
    return audio.sample_rate * audio.bytes_per_sample // 1000


def rescaled(item: _Event, scale: float) -> _Event:
    """The same place in the call, counted at the rate the AI has chosen."""
    if scale == 1:
        return item
    match item:
        case Gap():
            start, end = round(item.from_pts * scale), round(item.to_pts * scale)
            return replace(item, from_pts=start, to_pts=end)
        case ClockAnchor() | Speech() | Dtmf() | PartyChange():
            return replace(item, pts=round(item.pts * scale))
        case _:
            return item
