"""What a call's AIs say to the human alone: one form, pieces of a bounded size, never the playout.

Pure, a part of the conversation: each method answers with effects, in order. When the human hears
it, if ever, is the orchestrator's to decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from siprec_worker.media.model import PlayState, PlayStatus
from siprec_worker.media.utterance import Utterance
from siprec_worker.session import effects as fx
from siprec_worker.session.model import NARROWBAND, Speak
from siprec_worker.session.seats import Seat

LONGEST_MS = 30_000  # of one utterance; the orchestrator keeps no more of a call
MOST_OPEN = 8  # begun and not ended
MOST_CUT = 64  # not ended by their AI: the oldest is forgotten
PIECE_BYTES = 64 * 1024
PROGRESS_MS = 200  # an AI that paces itself by PlayState must not wait for us


@dataclass(slots=True)
class Asides:
    """Of one call. Utterances by AI and id; of those cut nothing more is taken.

    `spoke`: the AIs that have said something so, or may have at the worker the call was at before.
    """

    spoke: set[int] = field(default_factory=set)
    _open: dict[tuple[int, str], Utterance] = field(default_factory=dict)
    _cut: dict[tuple[int, str], None] = field(default_factory=dict)

    def say(self, agent: int, seat: Seat, speak: Speak) -> list[fx.Effect]:
        """A piece, on its way to the orchestrator. Beyond the limits the utterance ends: dropped,
        told (OVERRUN, and CUT, which says that no more is to be waited for) and counted.
        """
        key = agent, speak.utterance_id
        if key in self._cut:
            if speak.last:
                del self._cut[key]
            return []
        utterance = self._open.get(key)
        if utterance is None:
            if len(self._open) >= MOST_OPEN:
                return self._overrun(agent, seat, speak, 0)
            form = NARROWBAND if seat.opened is None else seat.opened.downlink
            utterance = self._open[key] = Utterance(speak.utterance_id, form, speak.barge)
        self.spoke.add(agent)
        if utterance.played_ms + utterance.milliseconds(speak.data) > LONGEST_MS:
            ended = _piece(agent, utterance, last=True)
            return [ended, *self._overrun(agent, seat, speak, utterance.played_ms)]
        return self._hand_on(agent, utterance, speak)

    def _hand_on(self, agent: int, utterance: Utterance, speak: Speak) -> list[fx.Effect]:
        utterance.last = speak.last
        utterance.append(speak.data)
        effects: list[fx.Effect] = []
        while utterance.left > PIECE_BYTES:
            effects.append(_piece(agent, utterance))
        if utterance.left or speak.last:
            effects.append(_piece(agent, utterance, last=speak.last))
        if speak.last:
            del self._open[agent, speak.utterance_id]
            return [*effects, _tell(agent, utterance, PlayStatus.FINISHED)]
        if not utterance.started and utterance.played:
            utterance.started = True
            effects.append(_tell(agent, utterance, PlayStatus.STARTED))
        elif utterance.played_ms - utterance.reported >= PROGRESS_MS:
            utterance.reported = utterance.played_ms
            effects.append(_tell(agent, utterance, PlayStatus.PROGRESS))
        return effects

    def clear(self, agent: int, utterance_ids: tuple[str, ...]) -> list[fx.Effect]:
        """Silences these of an AI, or all, wherever they are by now."""
        if agent not in self.spoke:
            return []
        effects: list[fx.Effect] = [fx.Report(fx.AgentSpeechCleared(agent, utterance_ids))]
        for key, utterance in tuple(self._open.items()):
            if key[0] == agent and (not utterance_ids or key[1] in utterance_ids):
                self._take_no_more(key)
                effects.append(_tell(agent, utterance, PlayStatus.CUT))
        return effects

    def _take_no_more(self, key: tuple[int, str]) -> None:
        self._open.pop(key, None)
        self._cut[key] = None
        if len(self._cut) > MOST_CUT:
            del self._cut[next(iter(self._cut))]

    def _overrun(self, agent: int, seat: Seat, speak: Speak, played_ms: int) -> list[fx.Effect]:
        key = agent, speak.utterance_id
        self._take_no_more(key)
        if speak.last:
            del self._cut[key]
        refused, cut = (
            fx.Tell(agent, PlayState(speak.utterance_id, status, played_ms))
            for status in (PlayStatus.OVERRUN, PlayStatus.CUT)
        )
        return [refused, cut, fx.Count("agent_speech_overrun", seat.role)]


def _piece(agent: int, utterance: Utterance, *, last: bool = False) -> fx.Report:
    """The next piece of what is queued, which may be nothing."""
    position, identifier, rate = utterance.played, utterance.identifier, utterance.rate
    pcm = utterance.take(PIECE_BYTES)
    return fx.Report(fx.AgentSpeech(agent, identifier, pcm, rate, position, last))


def _tell(agent: int, utterance: Utterance, status: PlayStatus) -> fx.Tell:
    return fx.Tell(agent, PlayState(utterance.identifier, status, utterance.played_ms))
