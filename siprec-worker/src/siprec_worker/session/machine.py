"""One call's conversation with its AIs: a pure machine, events in, effects out.

    recording ── dial (route says "fork") ─────────────┐
        │                                              ▼
        └─ talk-back attached ── dial ("talkback") → opening → open ─ lost ─→ bot failed
                                                               │
    voice    none ── attached, answered and open → speaking    ├─ human connected ─→ closed
                         frozen ⇄ speaking                     └─ call ended ──────→ closed

Nothing is spoken before the call is ANSWERED: what the AI says earlier waits (bounded by
`Limits.playout_buffer_ms`, PlayState OVERRUN above it). SHADOW and ASSIST never speak or escalate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from siprec_worker.media.model import AudioFormat, PlayState, PlayStatus, TalkbackCodec
from siprec_worker.session import effects as fx
from siprec_worker.session import events as ev
from siprec_worker.session.model import (
    AgentLost,
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
    Limits,
    Mark,
    Notice,
    Opened,
    Party,
    PartyChange,
    Role,
    SendDtmf,
    Severity,
    Speak,
    Transcript,
)

MAX_WAITING_ORDERS = 256  # Speak, Clear and Mark that came before there was a voice
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
    stage: Stage = Stage.WAITING
    opened: Opened | None = None


@dataclass(slots=True)
class Conversation:
    """Feed it events; it answers with what is to be done.

    `seats`: the route's AIs, at most one PRIMARY. `now_pts` is where PartyChange is placed.
    """

    seats: tuple[Seat, ...]
    limits: Limits = field(default_factory=Limits)
    legs: tuple[Leg, ...] = ()
    status: CallStatus | None = None
    codec: TalkbackCodec | None = None
    party: Party | None = None
    frozen: bool = False
    phrase: str = ""
    ended: bool = False
    now_pts: int = 0
    _voice: bool = False
    _spoke: bool = False
    _waiting: list[Speak | Clear | Mark] = field(default_factory=list)
    _waiting_ms: int = 0
    _watched_phrases: set[str] = field(default_factory=set)
    _over_already: dict[str, bool] = field(default_factory=dict)  # utterance -> was it cut?

    def handle(self, event: ev.Event) -> list[fx.Effect]:
        """One event's effects, to be done in this order."""
        if self.ended:
            return []
        match event:
            case ev.Recording(legs):
                self.legs = legs
                return self._dial(lambda seat: seat.dial_on_fork or seat.role is Role.SHADOW)
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
            case ev.Heard(item):
                return [
                    fx.Tell(i, item)
                    for i in self._open_seats()
                    if item.leg in self._wanted(self.seats[i])
                ]
            case ev.FreezeAsked(reason, phrase):
                return self._freeze(reason, phrase)
            case ev.UnfreezeAsked():
                return self._unfreeze()
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
        effects = self._dial(lambda seat: seat.role is not Role.ASSIST)
        effects += self._status_changed(status)
        return effects + self._start_voice()

    def _detached(self, reason: CloseReason) -> list[fx.Effect]:
        """The bot's leg is gone: PRIMARY has nothing to say any more."""
        self.codec = None
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
            effects += self._dial(lambda seat: seat.role is Role.ASSIST)
        return effects

    def _over(self) -> list[fx.Effect]:
        answered = self.status in (CallStatus.ANSWERED, CallStatus.ON_HOLD) or self.codec is None
        reason = CloseReason.CALL_ENDED if answered else CloseReason.NOT_ANSWERED
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
                return self._lost(seat, reason)
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
            case Intent() | CancelEscalation() | HangUp() | SendDtmf():
                return [fx.Report(message)]
            case _:
                return [fx.Count(f"unsupported_{type(message).__name__.lower()}", seat.role)]

    def _opened(self, agent: int, seat: Seat, opened: Opened) -> list[fx.Effect]:
        seat.stage, seat.opened = Stage.OPEN, opened
        effects: list[fx.Effect] = [
            fx.Listen(agent, self._wanted(seat), opened.uplink, opened.chunk_ms)
        ]
        if self.status is not None:
            effects.append(fx.Tell(agent, CallState(self.status)))
        return effects + self._start_voice()

    def _lost(self, seat: Seat, reason: str) -> list[fx.Effect]:
        seat.stage = Stage.OVER
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
        """Once the call is answered, has a leg for the bot, and the bot is there: let it speak."""
        primary = self._primary()
        if self._voice or primary is None or self.codec is None:
            return []
        opened = primary[1].opened
        if primary[1].stage is not Stage.OPEN or opened is None:
            return []
        if self.status is not CallStatus.ANSWERED:
            return []
        self._voice = True
        effects: list[fx.Effect] = [fx.StartVoice(opened.downlink, self.codec)]
        effects += [fx.Play(order) for order in self._waiting]
        self._waiting, self._waiting_ms = [], 0
        return effects

    def _stop_voice(self) -> list[fx.Effect]:
        self._waiting, self._waiting_ms = [], 0
        if not self._voice:
            return []
        self._voice = False
        return [fx.StopVoice()]

    def _order(self, agent: int, order: Speak | Clear | Mark) -> list[fx.Effect]:
        if isinstance(order, Speak) and self.frozen and order.utterance_id != self.phrase:
            return [fx.Tell(agent, PlayState(order.utterance_id, PlayStatus.CUT))]
        if self._voice:
            return [fx.Play(order)]
        if isinstance(order, Clear):
            gone = [o for o in self._waiting if isinstance(o, Speak) and _cleared(o, order)]
            self._waiting = [o for o in self._waiting if o not in gone]
            return [
                fx.Tell(agent, PlayState(name, PlayStatus.CUT))
                for name in dict.fromkeys(o.utterance_id for o in gone)
            ]
        if isinstance(order, Speak):
            queued_ms = self._waiting_ms + _duration_ms(order, self.seats[agent].opened)
            too_much = queued_ms > self.limits.playout_buffer_ms
            if too_much or len(self._waiting) >= MAX_WAITING_ORDERS:
                overrun = PlayState(
                    order.utterance_id, PlayStatus.OVERRUN, queued_ms=self._waiting_ms
                )
                return [fx.Tell(agent, overrun)]
            self._waiting_ms = queued_ms
        if len(self._waiting) < MAX_WAITING_ORDERS:
            self._waiting.append(order)
        return []

    def _played(self, state: PlayState) -> list[fx.Effect]:
        effects: list[fx.Effect] = []
        if state.status is PlayStatus.STARTED and not self._spoke:
            self._spoke = True
            effects.append(fx.Report(fx.BotSpeaks(state.utterance_id)))
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
        effects = self._watch(phrase)
        if self._voice:
            effects.append(fx.FreezeVoice(phrase))
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
        return [fx.UnfreezeVoice()] if self._voice else []

    def _refused(self, request_id: str, error: str) -> list[fx.Effect]:
        primary = self._primary()
        if primary is None or primary[1].stage is not Stage.OPEN:
            return []
        text = f"escalation {request_id} refused: {error}"
        notice = Notice(Severity.ERROR, "escalation_refused", text)
        return [*self._unfreeze(), fx.Tell(primary[0], notice)]


def _cleared(speak: Speak, clear: Clear) -> bool:
    return not clear.utterance_ids or speak.utterance_id in clear.utterance_ids


def _duration_ms(speak: Speak, opened: Opened | None) -> int:
    fmt = opened.downlink if opened else None
    return _audio_ms(len(speak.data), fmt)


def _audio_ms(size: int, fmt: AudioFormat | None) -> int:
    if fmt is None:
        return 0
    return 1000 * size // (fmt.bytes_per_sample * fmt.sample_rate)
