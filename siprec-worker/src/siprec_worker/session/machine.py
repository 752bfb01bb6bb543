"""One call's conversation with its AIs: a pure machine, events in, effects out.

    recording ── dial (route says "fork") ─────────────┐
        │                                              ▼
        └─ talk-back attached ── dial ("talkback") → opening → open ─ lost ─→ bot failed
                                                               │
    voice    none ── attached, answered and open → speaking    ├─ human connected ─→ closed
                         frozen ⇄ speaking                     └─ call ended ──────→ closed

Nothing is spoken before the call is ANSWERED: what the AI says earlier waits in the playout, which
is not sent yet (bounded there, PlayState OVERRUN). SHADOW and ASSIST never speak nor escalate; but
ASSIST, as PRIMARY, may speak to the human alone, whom the bot's being frozen does not concern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from siprec_worker.media.call_audio import can_make
from siprec_worker.media.model import (
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
from siprec_worker.session.asides import Asides
from siprec_worker.session.bot_voice import BotVoice
from siprec_worker.session.model import (
    AgentLost,
    Audience,
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
from siprec_worker.session.seats import Seat, Stage

CHUNK_MS = range(20, 201, 20)


@dataclass(slots=True)
class Conversation:
    """Feed it events; it answers with what is to be done.

    `seats`: the route's AIs, at most one PRIMARY. `now_pts` is where PartyChange is placed.
    """

    seats: tuple[Seat, ...]
    chunk_ms: int = 20  # proposed
    legs: tuple[Leg, ...] = ()
    status: CallStatus | None = None
    voice: BotVoice = field(default_factory=BotVoice)
    asides: Asides = field(default_factory=Asides)
    party: Party | None = None
    frozen: bool = False
    phrase: str = ""
    sensitive: bool = False  # the AI asked for it
    paused: bool = False  # the orchestrator did
    ended: bool = False
    now_pts: int = 0
    cut: tuple[str, ...] = ()  # what another worker had still to play, and its AI must be told
    _given_up: bool = False  # by the caller, before the answer

    @property
    def speaking(self) -> bool:
        """The bot's voice is on its way to the PBX."""
        return self.voice.on

    def handle(self, event: ev.Event) -> list[fx.Effect]:
        """One event's effects, to be done in this order."""
        if self.ended:
            return []
        match event:
            case ev.Recording(legs):
                self.legs = legs
                return self._dial(lambda seat: seat.dial_on_fork or seat.role is Role.SHADOW)
            case ev.Adopted(legs):
                self.legs = legs
                return self._carry_on()
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

    def _carry_on(self) -> list[fx.Effect]:
        """The call was another worker's: each AI that was there goes on where it had come to.

        It gets its audio in the form and of the legs that it had chosen, before it has said so
        again: what comes meanwhile waits in its stream.
        """
        effects: list[fx.Effect] = [fx.Withhold(self._withheld)] if self._withheld else []
        effects += self._stay_frozen() if self.frozen else []
        for i, seat in enumerate(self.seats):
            if seat.stage not in (Stage.OPENING, Stage.OPEN):
                continue
            seat.stage = Stage.OPENING
            effects.append(fx.Dial(i))
            if (opened := seat.opened) is not None and opened.resume_token:
                if (opened.uplink, opened.chunk_ms) != (seat.uplink, self.chunk_ms):
                    effects.append(fx.UseForm(i, opened.uplink, opened.chunk_ms))
                effects.append(fx.Listen(i, self._wanted(seat)))
        return effects

    def _stay_frozen(self) -> list[fx.Effect]:
        """Its AI knows. What was left of the phrase is lost: who waits for its end need not."""
        lost = bool(self.phrase) and self.phrase in self.cut
        ended: list[fx.Effect] = [fx.Report(fx.PhraseEnded(self.phrase, cut=True))] if lost else []
        watched = [] if lost else self.voice.watch(self.phrase)
        return [*watched, fx.FreezeVoice(self.phrase), *ended]

    def _attached(self, codec: TalkbackCodec, status: CallStatus) -> list[fx.Effect]:
        self.voice.attach(codec)
        effects = self._dial(lambda seat: seat.role is not Role.ASSIST)
        effects += self._status_changed(status)
        return [*effects, *self._start_voice(), *self.voice.announce()]

    def _detached(self, reason: CloseReason) -> list[fx.Effect]:
        """The bot's leg is gone: PRIMARY has nothing to say any more."""
        self.voice.codec = None
        self._given_up = reason is CloseReason.NOT_ANSWERED
        effects = self.voice.stop()
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
            effects += self.voice.stop()
            effects += self._close_primary(CloseReason.HUMAN_CONNECTED)
            # Who had asked for it is gone; a human pauses by the orchestrator.
            effects += self._withhold(sensitive=False)
            effects += self._dial(lambda seat: seat.role is Role.ASSIST)
        return effects

    def _over(self) -> list[fx.Effect]:
        # An early call that has left the bot was answered by others, for all that we know.
        early = self.status is CallStatus.EARLY and self.voice.codec is not None
        unanswered = early or self._given_up
        reason = CloseReason.NOT_ANSWERED if unanswered else CloseReason.CALL_ENDED
        effects = self.voice.stop()
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
            case Speak(audience=Audience.AGENT) if seat.role is not Role.SHADOW:
                return self.asides.say(agent, seat, message)
            case Clear(cleared) if seat.role is Role.ASSIST:
                return self.asides.clear(agent, cleared)
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
            case HangUp():
                return self.voice.hang_up(message)
            case Intent() | CancelEscalation() | SendDtmf():
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
            effects += [fx.Tell(agent, PlayState(name, PlayStatus.CUT)) for name in self.cut]
            self.cut = ()
        if self.status is not None:
            effects.append(fx.Tell(agent, CallState(self.status)))
        return effects + self._start_voice()

    def _heard(self, item: Gap | Dtmf | Speech, agents: tuple[int, ...] | None) -> list[fx.Effect]:
        """Tells it who gets that leg. The customer's speech may interrupt the bot."""
        effects: list[fx.Effect] = [
            fx.Tell(i, item)
            for i, seat in enumerate(self.seats)
            if (agents is None or i in agents) and seat.hears and item.leg in self._wanted(seat)
        ]
        if (
            isinstance(item, Speech)
            and item.started
            and self.voice.on
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
        """Also those that are being resumed: what they are told waits in their streams."""
        return [i for i, seat in enumerate(self.seats) if seat.hears]

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
        primary = self._primary()
        there = primary is not None and primary[1].stage is Stage.OPEN
        return self.voice.start(self.status) if there else []

    def _order(self, agent: int, order: Speak | Clear | Mark) -> list[fx.Effect]:
        if isinstance(order, Speak) and self.frozen and order.utterance_id != self.phrase:
            return [fx.Tell(agent, PlayState(order.utterance_id, PlayStatus.CUT))]
        effects = self.voice.order(order)
        if isinstance(order, Clear):
            effects += self.asides.clear(agent, order.utterance_ids)
        return effects

    def _played(self, state: PlayState) -> list[fx.Effect]:
        effects = self.voice.played(state)
        if (primary := self._primary()) and primary[1].stage is Stage.OPEN:
            effects.append(fx.Tell(primary[0], state))
        return [*effects, *self.voice.ended(state)]

    # --- the handoff ------------------------------------------------------------------------

    def _escalated(self, escalate: Escalate) -> list[fx.Effect]:
        effects: list[fx.Effect] = [fx.Report(escalate)]
        effects += self.voice.watch(escalate.say_first)
        if escalate.freeze_bot:
            effects += self._freeze("the AI asked for a human", escalate.say_first)
        return effects

    def _freeze(self, reason: str, phrase: str) -> list[fx.Effect]:
        self.frozen, self.phrase = True, phrase
        effects = [*self.voice.watch(phrase), fx.FreezeVoice(phrase)]
        freeze = Freeze(reason, phrase)
        match self._primary():
            case (i, seat) if seat.hears:
                effects.append(fx.Tell(i, freeze))
        return effects

    def _unfreeze(self) -> list[fx.Effect]:
        self.frozen, self.phrase = False, ""
        return [fx.UnfreezeVoice()]

    def _refused(self, request_id: str, error: str) -> list[fx.Effect]:
        primary = self._primary()
        if primary is None or not primary[1].hears:
            return []
        text = f"escalation {request_id} refused: {error}"
        notice = Notice(Severity.ERROR, "escalation_refused", text)
        return [*self._unfreeze(), fx.Tell(primary[0], notice)]
