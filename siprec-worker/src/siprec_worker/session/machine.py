"""One call's conversation with its AIs: a pure machine, events in, effects out.

    recording ── dial (route says "fork") ─────────────┐
        │                                              ▼
        └─ talk-back attached ── dial ("talkback") → opening → open ─ lost ─→ bot failed
                                                               │
    voice    none ── attached, answered and open → speaking    ├─ human connected ─→ closed
                         frozen ⇄ speaking                     └─ call ended ──────→ closed

Nothing is spoken before the call is ANSWERED: what the AI says earlier waits in the playout, which
is not sent yet (bounded there, PlayState OVERRUN). SHADOW and ASSIST never speak nor escalate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from siprec_worker.media.call_audio import can_make
from siprec_worker.media.model import (
    AudioFormat,
    Dtmf,
    Gap,
    GapCause,
    PlayState,
    PlayStatus,
    Speech,
    TalkbackCodec,
)
from siprec_worker.session import effects as fx
from siprec_worker.session import events as ev
from siprec_worker.session.model import (
    NARROWBAND,
    AgentLost,
    BargeVerdict,
    CallState,
    CallStatus,
    CancelEscalation,
    Clear,
    Close,
    CloseReason,
    Escalate,
    Freeze,
    FromAgent,
    HangUp,
    Intent,
    Leg,
    LegKind,
    Mark,
    Notice,
    Opened,
    Party,
    PartyChange,
    Role,
    SendDtmf,
    Sensitive,
    Severity,
    Speak,
    Transcript,
)

NO_MORE_OF_IT = frozenset(
    {PlayStatus.FINISHED, PlayStatus.CUT, PlayStatus.STARVED, PlayStatus.OVERRUN}
)
CHUNK_MS = range(20, 201, 20)
REMEMBERED_UTTERANCES = 32  # ended ones, should an escalation name one as its phrase


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


@dataclass(slots=True)
class Conversation:
    """Feed it events; it answers with what is to be done.

    `seats`: the route's AIs, at most one PRIMARY. `now_pts` is where PartyChange is placed.
    """

    seats: tuple[Seat, ...]
    chunk_ms: int = 20  # proposed
    legs: tuple[Leg, ...] = ()
    status: CallStatus | None = None
    codec: TalkbackCodec | None = None
    party: Party | None = None
    frozen: bool = False
    phrase: str = ""
    sensitive: bool = False  # the AI asked for it
    paused: bool = False  # the orchestrator did
    ended: bool = False
    now_pts: int = 0
    _voice: bool = False
    _first_words: str = ""
    _announced: bool = False
    _given_up: bool = False  # by the caller, before the answer
    _unplayed: set[str] = field(default_factory=set)  # utterances with something left to play
    _parting: HangUp | None = None  # said, and waiting for the last words
    _watched_phrases: set[str] = field(default_factory=set)
    _over_already: dict[str, bool] = field(default_factory=dict)  # utterance -> was it cut?

    @property
    def speaking(self) -> bool:
        """The bot's voice is on its way to the PBX."""
        return self._voice

    def handle(self, event: ev.Event) -> list[fx.Effect]:
        """One event's effects, to be done in this order."""
        if self.ended:
            return []
        match event:
            case ev.Recording(legs):
                self.legs = legs
                return self._dial(lambda seat: seat.dial_on_fork or seat.role is Role.SHADOW)
            case ev.LegsChanged(legs):
                self.legs = legs
                return [fx.Listen(i, self._wanted(self.seats[i])) for i in self._open_seats()]
            case ev.TalkbackAttached(codec, status):
                return self._attached(codec, status)
            case ev.TalkbackDetached(reason):
                return self._detached(reason)
            case ev.StatusChanged(status):
                return self._status_changed(status)
            case ev.PartyChanged(party, name):
                return self._party_changed(party, name)
            case ev.AgentSaid(agent, message):
                return self._agent_said(agent, message)
            case ev.Played(state):
                return self._played(state)
            case ev.Heard(item, agents):
                return self._heard(item, agents)
            case ev.FreezeAsked(reason, phrase):
                return self._freeze(reason, phrase)
            case ev.UnfreezeAsked():
                return self._unfreeze()
            case ev.PauseAsked():
                return self._withhold(paused=True)
            case ev.ResumeAsked():
                return self._withhold(paused=False)
            case ev.HandoffChanged(update):
                return [fx.Tell(i, update) for i in self._open_seats()]
            case ev.Refused(request_id, error):
                return self._refused(request_id, error)
            case ev.Ended():
                return self._over()

    # --- the call ---------------------------------------------------------------------------

    def _dial(self, chosen: Callable[[Seat], bool]) -> list[fx.Effect]:
        effects: list[fx.Effect] = []
        for i, seat in enumerate(self.seats):
            if seat.stage is Stage.WAITING and chosen(seat):
                seat.stage = Stage.OPENING
                effects.append(fx.Dial(i))
        return effects

    def _attached(self, codec: TalkbackCodec, status: CallStatus) -> list[fx.Effect]:
        self.codec = codec
        self._announced = False  # a new orchestrator must hear it again
        effects = self._dial(lambda seat: seat.role is not Role.ASSIST)
        effects += self._status_changed(status)
        return [*effects, *self._start_voice(), *self._announce()]

    def _detached(self, reason: CloseReason) -> list[fx.Effect]:
        """The bot's leg is gone: PRIMARY has nothing to say any more."""
        self.codec = None
        self._given_up = reason is CloseReason.NOT_ANSWERED
        effects = self._stop_voice()
        return effects + self._close_primary(reason)

    def _status_changed(self, status: CallStatus) -> list[fx.Effect]:
        if status is self.status:
            return []
        self.status = status
        effects: list[fx.Effect] = [fx.Tell(i, CallState(status)) for i in self._open_seats()]
        return effects + self._start_voice()

    def _party_changed(self, party: Party, name: str) -> list[fx.Effect]:
        self.party = party
        leg = next((leg.handle for leg in self.legs if leg.kind is LegKind.PBX), 0)
        change = PartyChange(leg, party, name, self.now_pts)
        effects: list[fx.Effect] = [fx.Tell(i, change) for i in self._open_seats()]
        if party is Party.AGENT:
            effects += self._stop_voice()
            effects += self._close_primary(CloseReason.HUMAN_CONNECTED)
            # Who had asked for it is gone; a human pauses by the orchestrator.
            effects += self._withhold(sensitive=False)
            effects += self._dial(lambda seat: seat.role is Role.ASSIST)
        return effects

    def _over(self) -> list[fx.Effect]:
        # An early call that has left the bot was answered by others, for all that we know.
        early = self.status is CallStatus.EARLY and self.codec is not None
        unanswered = early or self._given_up
        reason = CloseReason.NOT_ANSWERED if unanswered else CloseReason.CALL_ENDED
        effects = self._stop_voice()
        for i, seat in enumerate(self.seats):
            if seat.stage in (Stage.OPENING, Stage.OPEN):
                effects.append(fx.Goodbye(i, Close(reason)))
            seat.stage = Stage.OVER
        self.ended = True
        return effects

    # --- an AI ------------------------------------------------------------------------------

    def _agent_said(self, agent: int, message: FromAgent) -> list[fx.Effect]:
        seat = self.seats[agent]
        if seat.stage is Stage.OVER:
            return []
        match message:
            case Opened():
                return self._opened(agent, seat, message)
            case AgentLost(reason):
                seat.stage = Stage.OVER
                return self._failed(seat, reason)
            case Transcript():
                return [fx.Report(message)]
            case Notice():
                return [fx.Count(f"agent_notice_{message.severity.name.lower()}", seat.role)]
            case _ if seat.role is not Role.PRIMARY:
                refusal = Notice(Severity.WARNING, "role", f"{seat.role.name} may only listen")
                return [fx.Tell(agent, refusal), fx.Count("not_primary", seat.role)]
            case Speak() | Clear() | Mark():
                return self._order(agent, message)
            case Escalate():
                return self._escalated(message)
            case BargeVerdict():
                return [fx.JudgeBarge(message)]
            case Sensitive(on):
                return self._withhold(sensitive=on)
            case HangUp(_, None) if self._unplayed:
                self._parting = message  # once everything has been played
                return []
            case Intent() | CancelEscalation() | HangUp() | SendDtmf():
                return [fx.Report(message)]
            case _:
                return [fx.Count(f"unsupported_{type(message).__name__.lower()}", seat.role)]

    def _opened(self, agent: int, seat: Seat, opened: Opened) -> list[fx.Effect]:
        if not can_make(opened.uplink) or opened.chunk_ms not in CHUNK_MS:
            seat.stage = Stage.OVER
            asked = f"asked for {opened.uplink} in {opened.chunk_ms} ms, which cannot be made"
            close = fx.Goodbye(agent, Close(CloseReason.PROTOCOL_ERROR, asked))
            return [close, *self._failed(seat, asked)]
        seat.stage, seat.opened = Stage.OPEN, opened
        effects: list[fx.Effect] = []
        if (opened.uplink, opened.chunk_ms) != (seat.uplink, self.chunk_ms):
            effects.append(fx.UseForm(agent, opened.uplink, opened.chunk_ms))
        effects.append(fx.Listen(agent, self._wanted(seat)))
        if seat.role is Role.PRIMARY:
            effects.append(fx.SetDownlink(opened.downlink))
        if self.status is not None:
            effects.append(fx.Tell(agent, CallState(self.status)))
        return effects + self._start_voice()

    def _heard(self, item: Gap | Dtmf | Speech, agents: tuple[int, ...] | None) -> list[fx.Effect]:
        """Tells it who gets that leg. The customer's speech may interrupt the bot."""
        effects: list[fx.Effect] = [
            fx.Tell(i, item)
            for i in self._open_seats()
            if (agents is None or i in agents) and item.leg in self._wanted(self.seats[i])
        ]
        if (
            isinstance(item, Speech)
            and item.started
            and self._voice
            and self._is_customer(item.leg)
        ):
            effects.append(fx.BargeIn())
        return effects

    def _is_customer(self, handle: int) -> bool:
        # A leg of unknown kind may carry the bot's own voice, which must not interrupt it.
        return any(leg.handle == handle and leg.kind is LegKind.CUSTOMER for leg in self.legs)

    def _withhold(
        self, *, sensitive: bool | None = None, paused: bool | None = None
    ) -> list[fx.Effect]:
        """Card data: for as long as either the AI or the orchestrator wants it."""
        before = self._withheld
        self.sensitive = self.sensitive if sensitive is None else sensitive
        self.paused = self.paused if paused is None else paused
        return [] if self._withheld is before else [fx.Withhold(self._withheld)]

    @property
    def _withheld(self) -> GapCause | None:
        if self.paused:
            return GapCause.PAUSED
        return GapCause.REDACTED if self.sensitive else None

    def _failed(self, seat: Seat, reason: str) -> list[fx.Effect]:
        if seat.role is not Role.PRIMARY:
            return [fx.Count("agent_lost", seat.role)]
        # What it had already said is played to the end; the caller then goes to a human.
        return [fx.Count("agent_lost", seat.role), fx.Report(fx.BotFailed(reason))]

    def _wanted(self, seat: Seat) -> tuple[int, ...]:
        """The legs an AI gets: what it asked for, else CUSTOMER for a PRIMARY and all for others.

        A bot must never transcribe itself, so a PRIMARY gets the PBX leg only when it asks.
        """
        if seat.opened is not None and seat.opened.legs:
            known = {leg.handle for leg in self.legs}
            return tuple(handle for handle in seat.opened.legs if handle in known)
        if seat.role is not Role.PRIMARY:
            return tuple(leg.handle for leg in self.legs)
        return tuple(leg.handle for leg in self.legs if leg.kind is not LegKind.PBX)

    def _open_seats(self) -> list[int]:
        return [i for i, seat in enumerate(self.seats) if seat.stage is Stage.OPEN]

    def _primary(self) -> tuple[int, Seat] | None:
        return next(((i, s) for i, s in enumerate(self.seats) if s.role is Role.PRIMARY), None)

    def _close_primary(self, reason: CloseReason) -> list[fx.Effect]:
        match self._primary():
            case (i, seat) if seat.stage in (Stage.OPENING, Stage.OPEN):
                seat.stage = Stage.OVER
                return [fx.Goodbye(i, Close(reason))]
            case (_, seat):
                seat.stage = Stage.OVER
        return []

    # --- the voice --------------------------------------------------------------------------

    def _start_voice(self) -> list[fx.Effect]:
        """Once the call is answered, has a leg for the bot, and the bot is there: let it speak.

        Where only the answer is missing, the orchestrator is told: it may wait for just this.
        """
        primary = self._primary()
        if self._voice or primary is None or self.codec is None:
            return []
        if primary[1].stage is not Stage.OPEN:
            return []
        if self.status is CallStatus.EARLY:
            return [fx.Report(fx.BotReady())]
        if self.status is not CallStatus.ANSWERED:
            return []
        self._voice = True
        return [fx.StartVoice(self.codec)]

    def _stop_voice(self) -> list[fx.Effect]:
        if not self._voice:
            return []
        self._voice = False
        return [fx.StopVoice()]

    def _announce(self) -> list[fx.Effect]:
        """Tells the orchestrator, once for each leg it gives us, that the bot has words to say.

        An early call is answered on this; ringing or music stops on it, in the playout's lead-in,
        so that no word is covered.
        """
        if self.codec is None or self._announced or not self._first_words:
            return []
        self._announced = True
        return [fx.Report(fx.BotSpeaks(self._first_words))]

    def _order(self, agent: int, order: Speak | Clear | Mark) -> list[fx.Effect]:
        if isinstance(order, Speak):
            if self.frozen and order.utterance_id != self.phrase:
                return [fx.Tell(agent, PlayState(order.utterance_id, PlayStatus.CUT))]
            self._first_words = self._first_words or order.utterance_id
            self._unplayed.add(order.utterance_id)
        return [fx.Play(order), *self._announce()]

    def _played(self, state: PlayState) -> list[fx.Effect]:
        effects: list[fx.Effect] = []
        if state.status in NO_MORE_OF_IT:
            self._unplayed.discard(state.utterance_id)
            if self._parting is not None and not self._unplayed:
                effects.append(fx.Report(self._parting))
                self._parting = None
        if (primary := self._primary()) and primary[1].stage is Stage.OPEN:
            effects.append(fx.Tell(primary[0], state))
        if state.status in (PlayStatus.FINISHED, PlayStatus.CUT):
            cut = state.status is PlayStatus.CUT
            self._over_already[state.utterance_id] = cut
            while len(self._over_already) > REMEMBERED_UTTERANCES:
                del self._over_already[next(iter(self._over_already))]
            if state.utterance_id in self._watched_phrases:
                self._watched_phrases.discard(state.utterance_id)
                effects.append(fx.Report(fx.PhraseEnded(state.utterance_id, cut)))
        return effects

    # --- the handoff ------------------------------------------------------------------------

    def _escalated(self, escalate: Escalate) -> list[fx.Effect]:
        effects: list[fx.Effect] = [fx.Report(escalate)]
        effects += self._watch(escalate.say_first)
        if escalate.freeze_bot:
            effects += self._freeze("the AI asked for a human", escalate.say_first)
        return effects

    def _freeze(self, reason: str, phrase: str) -> list[fx.Effect]:
        self.frozen, self.phrase = True, phrase
        effects = [*self._watch(phrase), fx.FreezeVoice(phrase)]
        freeze = Freeze(reason, phrase)
        match self._primary():
            case (i, seat) if seat.stage is Stage.OPEN:
                effects.append(fx.Tell(i, freeze))
        return effects

    def _watch(self, phrase: str) -> list[fx.Effect]:
        """Reports the end of `phrase` when it comes, or now if it has been."""
        if not phrase:
            return []
        if phrase in self._over_already:
            return [fx.Report(fx.PhraseEnded(phrase, self._over_already[phrase]))]
        self._watched_phrases.add(phrase)
        return []

    def _unfreeze(self) -> list[fx.Effect]:
        self.frozen, self.phrase = False, ""
        return [fx.UnfreezeVoice()]

    def _refused(self, request_id: str, error: str) -> list[fx.Effect]:
        primary = self._primary()
        if primary is None or primary[1].stage is not Stage.OPEN:
            return []
        text = f"escalation {request_id} refused: {error}"
        notice = Notice(Severity.ERROR, "escalation_refused", text)
        return [*self._unfreeze(), fx.Tell(primary[0], notice)]
