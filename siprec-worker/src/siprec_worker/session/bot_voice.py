"""The voice of a call's PRIMARY: when it is on, what is still to be played, which phrases end.

Pure, a part of the conversation: each method answers with effects, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from siprec_worker.media.model import PlayState, PlayStatus, TalkbackCodec
from siprec_worker.session import effects as fx
from siprec_worker.session.model import CallStatus, Clear, HangUp, Mark, Speak

NO_MORE_OF_IT = frozenset(
    {PlayStatus.FINISHED, PlayStatus.CUT, PlayStatus.STARVED, PlayStatus.OVERRUN}
)
REMEMBERED_UTTERANCES = 32  # ended ones, should an escalation name one as its phrase


@dataclass(slots=True)
class BotVoice:
    """`codec`: of the leg that the PBX has for it, None while there is none."""

    codec: TalkbackCodec | None = None
    on: bool = False
    _first_words: str = ""
    _announced: bool = False
    _unplayed: set[str] = field(default_factory=set)  # utterances with something left to play
    _parting: HangUp | None = None  # said, and waiting for the last words
    _watched_phrases: set[str] = field(default_factory=set)
    _over_already: dict[str, bool] = field(default_factory=dict)  # utterance -> was it cut?

    @property
    def unplayed(self) -> tuple[str, ...]:
        """Utterances with something left to play: lost with the worker, should it die."""
        return tuple(self._unplayed)

    def attach(self, codec: TalkbackCodec) -> None:
        self.codec = codec
        self._announced = False  # a new orchestrator must hear it again

    def start(self, status: CallStatus | None) -> list[fx.Effect]:
        """Once the call is answered and has a leg for the bot, which is there: let it speak.

        Where only the answer is missing, the orchestrator is told: it may wait for just this.
        """
        if self.on or self.codec is None:
            return []
        if status is CallStatus.EARLY:
            return [fx.Report(fx.BotReady())]
        if status is not CallStatus.ANSWERED:
            return []
        self.on = True
        return [fx.StartVoice(self.codec)]

    def stop(self) -> list[fx.Effect]:
        if not self.on:
            return []
        self.on = False
        return [fx.StopVoice()]

    def announce(self) -> list[fx.Effect]:
        """Tells the orchestrator, once for each leg it gives us, that the bot has words to say.

        An early call is answered on this; ringing or music stops on it, in the playout's lead-in,
        so that no word is covered.
        """
        if self.codec is None or self._announced or not self._first_words:
            return []
        self._announced = True
        return [fx.Report(fx.BotSpeaks(self._first_words))]

    def order(self, order: Speak | Clear | Mark) -> list[fx.Effect]:
        if isinstance(order, Speak):
            self._first_words = self._first_words or order.utterance_id
            self._unplayed.add(order.utterance_id)
        return [fx.Play(order), *self.announce()]

    def hang_up(self, asked: HangUp) -> list[fx.Effect]:
        """At once, or once everything has been played."""
        if asked.after_ms is None and self._unplayed:
            self._parting = asked
            return []
        return [fx.Report(asked)]

    def played(self, state: PlayState) -> list[fx.Effect]:
        """What an utterance's end lets happen; the phrases that end with it are `ended`."""
        if state.status not in NO_MORE_OF_IT:
            return []
        self._unplayed.discard(state.utterance_id)
        if self._parting is None or self._unplayed:
            return []
        parting, self._parting = self._parting, None
        return [fx.Report(parting)]

    def watch(self, phrase: str) -> list[fx.Effect]:
        """Reports the end of `phrase` when it comes, or now if it has been."""
        if not phrase:
            return []
        if phrase in self._over_already:
            return [fx.Report(fx.PhraseEnded(phrase, self._over_already[phrase]))]
        self._watched_phrases.add(phrase)
        return []

    def ended(self, state: PlayState) -> list[fx.Effect]:
        """A phrase that is watched may have ended."""
        if state.status not in (PlayStatus.FINISHED, PlayStatus.CUT):
            return []
        cut = state.status is PlayStatus.CUT
        self._over_already[state.utterance_id] = cut
        while len(self._over_already) > REMEMBERED_UTTERANCES:
            del self._over_already[next(iter(self._over_already))]
        if state.utterance_id not in self._watched_phrases:
            return []
        self._watched_phrases.discard(state.utterance_id)
        return [fx.Report(fx.PhraseEnded(state.utterance_id, cut))]
