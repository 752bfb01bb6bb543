"""What of the agent's speech is on its way, and whether there is room for more. Pure.

The worker plays from a buffer of Limits.playout_buffer_ms and refuses what does not fit, so the
SDK sends only as much as fits, by counting what was sent and what PlayState says was played.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from voicefork_sdk.events import PlayState
from voicefork_sdk.model import PlayStatus

_REMEMBERED_ENDINGS = 256


@dataclass(slots=True)
class _Utterance:
    sent_ms: float = 0.0
    played_ms: float = 0.0
    is_complete: bool = False  # `last` was sent
    is_cut: bool = False  # the rest will not be played
    is_aside: bool = False  # for the human alone: what silences the caller's bot leaves it

    @property
    def queued_ms(self) -> float:
        return 0.0 if self.is_cut else max(0.0, self.sent_ms - self.played_ms)


class Playout:
    """Feed it what was sent and every PlayState."""

    def __init__(self, ahead_ms: int) -> None:
        self._ahead_ms = ahead_ms
        self._live: dict[str, _Utterance] = {}
        self._endings: OrderedDict[str, PlayState] = OrderedDict()
        self.overruns = 0

    @property
    def queued_ms(self) -> float:
        """Sent to the caller, and not yet known to be played."""
        return self._queued_ms(aside=False)

    def has_room(self, milliseconds: float, *, aside: bool = False) -> bool:
        """Whether so much more may be sent; a piece longer than the whole buffer goes alone.

        What is for the human alone (`aside`) does not wait for what the caller hears.
        """
        queued = self._queued_ms(aside=aside)
        return not queued or queued + milliseconds <= self._ahead_ms

    def _queued_ms(self, *, aside: bool) -> float:
        return sum(each.queued_ms for each in self._live.values() if each.is_aside is aside)

    def is_cut(self, utterance_id: str) -> bool:
        """True while the rest of an unfinished utterance would not be played."""
        utterance = self._live.get(utterance_id)
        return utterance is not None and utterance.is_cut

    def ending(self, utterance_id: str) -> PlayState | None:
        """FINISHED or CUT, once it is known."""
        return self._endings.get(utterance_id)

    def sent(
        self, utterance_id: str, milliseconds: float, *, last: bool, aside: bool = False
    ) -> None:
        utterance = self._live.setdefault(utterance_id, _Utterance())
        if utterance.is_complete:  # an id used again is a new utterance
            utterance = self._live[utterance_id] = _Utterance()
        if not utterance.sent_ms:
            self._endings.pop(utterance_id, None)
        utterance.sent_ms += milliseconds
        utterance.is_complete = last
        utterance.is_aside = aside

    def skipped(self, utterance_id: str, *, last: bool) -> None:
        """A piece of a cut utterance was not sent; its last piece ends the matter."""
        if last:
            self._live.pop(utterance_id, None)

    def others_than(self, utterance_id: str) -> tuple[str, ...]:
        """Every live utterance to the caller but this one."""
        return tuple(
            other
            for other, utterance in self._live.items()
            if other != utterance_id and not utterance.is_aside
        )

    def cut(self, utterance_ids: Collection[str] | None = None) -> None:
        """These were silenced from this side; None: all."""
        for utterance_id in tuple(self._live) if utterance_ids is None else utterance_ids:
            if (utterance := self._live.get(utterance_id)) is not None:
                played_ms = round(utterance.played_ms)
                self._cut(utterance_id, utterance)
                self._remember(PlayState(utterance_id, PlayStatus.CUT, played_ms))

    def received(self, state: PlayState) -> None:
        utterance = self._live.get(state.utterance_id)
        match state.status:
            case PlayStatus.STARTED | PlayStatus.PROGRESS if utterance:
                utterance.played_ms = max(utterance.played_ms, state.played_ms)
            case PlayStatus.STARVED if utterance:
                utterance.played_ms = max(utterance.played_ms, utterance.sent_ms)
            case PlayStatus.FINISHED:
                self._live.pop(state.utterance_id, None)
                self._remember(state)
            case PlayStatus.CUT:
                self._remember(state)
                if utterance:
                    self._cut(state.utterance_id, utterance)
            case PlayStatus.OVERRUN:
                self.overruns += 1
            case _:
                pass

    def _cut(self, utterance_id: str, utterance: _Utterance) -> None:
        utterance.is_cut = True
        if utterance.is_complete:
            del self._live[utterance_id]

    def _remember(self, state: PlayState) -> None:
        self._endings[state.utterance_id] = state
        self._endings.move_to_end(state.utterance_id)
        while len(self._endings) > _REMEMBERED_ENDINGS:
            self._endings.popitem(last=False)
