"""A PBX, a worker and people in a few lines of state: what the handoff's effects really do."""

from __future__ import annotations

from orchestrator.handoff import names
from orchestrator.handoff.effects import (
    AddAgent,
    Announce,
    BriefAgent,
    ClearDeadline,
    ContinueInDialplan,
    DialAgent,
    Effect,
    Finish,
    HangUp,
    HoldCaller,
    HushBriefing,
    HushPhrase,
    Lane,
    MakeHolding,
    MakeMix,
    MoveCaller,
    PublishContext,
    ReturnToBot,
    SayPhrase,
    SetDeadline,
    StartMusic,
    StartWitness,
    StopPlaying,
    StopWitness,
    TearDown,
)
from orchestrator.handoff.events import (
    AgentAnswered,
    AgentJoined,
    AgentKey,
    AgentLost,
    AgentRinging,
    AriFailed,
    BotLost,
    BriefingEnded,
    BriefingStarted,
    CallerHeld,
    CallerKey,
    CallerLeft,
    CallerMerged,
    CallerReturned,
    CancelRequested,
    ContextFailed,
    ContextPublished,
    Deadline,
    DeadlinePassed,
    Event,
    HoldReady,
    MixReady,
    PhraseEnded,
    QueueEntered,
    Referred,
    Requested,
    Superseded,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.machine import begin, step
from orchestrator.handoff.names import PlaybackId
from orchestrator.handoff.referring import ENTRY
from orchestrator.handoff.state import Request
from orchestrator.model import BridgeId, ChannelId, Outcome, Witness

Answered = CallerHeld | CallerMerged | CallerReturned | QueueEntered
_MOVES = HoldCaller | MoveCaller | ReturnToBot | ContinueInDialplan
_CARE: set[type[Effect]] = {HoldCaller, ContinueInDialplan, StartMusic}


class PbxModel:
    """`choices` says what may happen next, `do` lets it happen, `caller_is_cared_for` judges."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.state = begin(request, 100.0)
        self.finishes = 0
        self.agents_up: set[ChannelId] = set()
        self.own_bridges: set[BridgeId] = set()
        # "bot", a bridge's id, "queue", "gone", "music" of the channel's own, or "asked": in the
        # dialplan, with music, while it asks the carrier
        self._caller = "music" if request.came_back else "bot"
        self._refused: set[type[Effect]] = set()  # what failed since the caller last moved
        self._told = False  # the rules' phrase is being said
        self._playing: PlaybackId | None = None  # on the caller's channel
        self._briefed: BriefAgent | None = None
        self._mixed: set[ChannelId] = set()
        self._bot_bridge = True
        self._todo: list[Effect] = []
        self._context: list[int] = []
        self._deadlines: set[Deadline] = set()
        self._witness = False
        self._news: list[Event] = []
        self._phrase = bool(request.say_first)
        self._log: list[object] = []
        self._feed(Requested(100.0))

    # --- what may happen ----------------------------------------------------------------------

    def choices(self) -> list[str]:
        if self._caller == "gone" and not self._todo:
            return []
        wishes = ["hang-up", "cancel", "supersede"] if self._caller != "gone" else []
        wishes += ["caller-key:1", "caller-key:2", "bot-lost"] if self._caller != "gone" else []
        # The usual is drawn more often, so that histories get as far as a merge.
        return [
            *(["perform"] * 16 + ["fail", "half"] if self._todo else []),
            *(["context"] * 4 + ["no-context"] if self._context else []),
            *(["phrase"] * 4 if self._phrase else []),
            *(["briefed"] * 2 if self._briefed else []),
            *(["told"] * 2 if self._told or self._playing else []),
            *(["heard", "heard", "unheard"] if self._witness else []),
            *(f"deadline:{which.value}" for which in sorted(self._deadlines, key=str)),
            *(f"{what}:{channel}" for channel in sorted(self.agents_up)
              for what in ("ring", "answer", "answer", "answer", "key", "key", "lose")),
            *(["referred:SUCCESS", "referred:FAILURE"] * 2 if self._caller == "asked" else []),
            *wishes,
        ]  # fmt: skip

    def do(self, choice: str) -> None:
        self._log.append(choice)
        what, _, which = choice.partition(":")
        channel = ChannelId(which)
        match what:
            case "perform" | "fail" | "half":
                self._perform(self._todo.pop(0), what)
            case "context":
                self._feed(ContextPublished(101.0, self._context.pop(0)))
            case "no-context":
                self._feed(ContextFailed(101.0, self._context.pop(0)))
            case "phrase":
                self._phrase = False
                self._feed(PhraseEnded(101.0))
            case "deadline":
                self._deadlines.discard(Deadline(which))
                if self._caller == "asked" and Deadline(which) is Deadline.REFER:
                    self._caller = "queue"  # where the dialplan goes on by itself
                self._feed(DeadlinePassed(101.0, Deadline(which)))
            case "referred":
                self._caller = "music"
                self._feed(Referred(101.0, which, 486))
            case "briefed":
                self._end_briefing()
            case "told":
                self._end_phrase()
            case "heard":
                self._feed(WitnessReported(101.0, 100.0, Witness(both_live_ms=1000)))
            case "unheard":
                self._feed(WitnessReported(101.0, 100.0, Witness(one_way=True)))
            case "caller-key":
                self._feed(CallerKey(101.0, which))
            case "bot-lost":
                self._phrase = False
                self._feed(BotLost(101.0))
            case "ring":
                self._feed(AgentRinging(101.0, channel))
            case "answer":
                self._feed(AgentAnswered(101.0, channel))
            case "key":
                self._feed(AgentKey(101.0, channel, "1"))
            case "lose":
                self._lose(channel)
            case "hang-up":
                self._caller = "gone"
                self._feed(CallerLeft(101.0))
            case "cancel":
                self._feed(CancelRequested(101.0))
            case "supersede":
                self._feed(Superseded(101.0))

    def run_out(self) -> None:
        """Lets everything that is under way come to its end, and all deadlines pass."""
        for _ in range(200):
            if self._todo:
                self.do("perform")
            elif self._phrase:
                self.do("phrase")
            elif self._briefed:
                self.do("briefed")
            elif self._told or self._playing:
                self.do("told")
            elif self._context:
                self.do("context")
            elif self._caller == "asked":
                self.do("referred:FAILURE")
            elif self._deadlines:
                # The menu would be announced for ever.
                others = self._deadlines - {Deadline.ANNOUNCE} or self._deadlines
                self.do(f"deadline:{min(others, key=str).value}")
            else:
                return

    def end_of_call(self) -> None:
        """Whoever still talks hangs up."""
        if self._caller != "queue":
            self._caller = "gone"
            self._feed(CallerLeft(900.0))
        self.run_out()

    # --- what is so ---------------------------------------------------------------------------

    @property
    def hears(self) -> str:
        """Where the caller is: "bot", a bridge's id, "queue", "music" of their own, "gone"."""
        return self._caller

    def caller_is_cared_for(self) -> bool:
        """The caller hears the bot, music, an agent or the queue, or help is already on the way."""
        if self._caller in {"gone", "queue", "music", "asked"}:
            return True
        if self._caller == "bot":
            return self._bot_bridge
        if self._caller == names.merge_bridge(self._request.handoff_id):
            helped = any(
                isinstance(effect, _MOVES)
                or (isinstance(effect, HangUp) and effect.channel == self._request.caller)
                for effect in self._todo
            )
            helped |= any(isinstance(effect, StartMusic) for effect in self._todo)
            # Where no bridge, no dialplan and no music can be had, a new try soon is all there is.
            helped |= self._refused >= _CARE and Deadline.RETRY in self._deadlines
            return bool(self._mixed) or helped
        return self._caller in self.own_bridges

    def story(self) -> str:
        return f"{self._log} -> caller {self._caller}, todo {self._todo}, {self.state}"

    # --- how --------------------------------------------------------------------------------

    def _feed(self, event: Event) -> None:
        self.state, effects = step(self.state, event)
        self._log.append(event)
        for effect in effects:
            self._take(effect)

    def _take(self, effect: Effect) -> None:
        match effect:
            case Finish():
                self.finishes += 1
            case PublishContext(_, revision):
                self._context.append(revision)
            case SetDeadline(which):
                self._deadlines.add(which)
            case ClearDeadline(which):
                self._deadlines.discard(which)
            case BriefAgent():
                assert self._briefed is None, self.story()
                self._briefed = effect
            case HushBriefing():
                if self._briefed is not None:
                    self._end_briefing()
            case SayPhrase():
                assert not self._told, self.story()
                self._told = True
            case HushPhrase():
                self._told = False
            case StartWitness():
                self._witness = True
            case StopWitness():
                self._witness = False
                self._feed(WitnessEnded(101.0))
            case _ if effect.lane is Lane.TELEPHONY:
                self._todo.append(effect)

    def _end_briefing(self) -> None:
        briefed, self._briefed = self._briefed, None
        if briefed is not None:
            self._feed(BriefingStarted(101.0, briefed.channel))
            self._feed(BriefingEnded(101.0, briefed.channel))

    def _end_phrase(self) -> None:
        self._told, self._playing = False, None
        self._feed(PhraseEnded(101.0))

    def _perform(self, effect: Effect, how: str) -> None:
        done, failed = how != "fail", how != "perform"
        if isinstance(effect, HangUp | TearDown):
            done, failed = True, False  # retried by the adapter; nothing here depends on it
        answer = self._effect(effect) if done else None
        if isinstance(effect, StopPlaying):
            self._playing = None  # or it plays on, and what follows comes late
        if failed:
            self._refused.add(type(effect))
        elif isinstance(effect, _MOVES):
            self._refused.clear()
        if failed:
            self._feed(AriFailed(101.0, effect.id, Outcome.PBX_ERROR))  # type: ignore[union-attr]
        elif answer is not None:
            self._feed(answer)

    def _effect(self, effect: Effect) -> Event | None:
        gone = self._caller == "gone"
        if isinstance(effect, _MOVES):  # it would come only after what plays
            assert (self._told, self._playing) == (False, None), self.story()
        match effect:
            case Announce(_, _, playback) if playback == names.phrase(self._request.handoff_id):
                self._playing = playback
            case StartMusic() if self._caller not in {"gone", "queue", "asked"}:
                self._caller = "music"
            case MakeHolding(_, bridge):
                self.own_bridges.add(bridge)
                return HoldReady(101.0)
            case MakeMix(_, bridge):
                self.own_bridges.add(bridge)
                return MixReady(101.0)
            case DialAgent(_, channel):
                self.agents_up.add(channel)
            case AddAgent(_, channel) if channel in self.agents_up:
                self._mixed.add(channel)
                return AgentJoined(101.0, channel)
            case HoldCaller(_, move, _, bridge, _) if not gone:
                self._caller = bridge
                return CallerHeld(101.0, move)
            case MoveCaller(_, move, _, bridge) if not gone:
                self._caller = bridge
                return CallerMerged(101.0, move)
            case ReturnToBot(_, move) if not gone:
                self._caller = "bot"
                return CallerReturned(101.0, move)
            case ContinueInDialplan(_, move, _, entry) if not gone:
                self._caller = "asked" if entry == ENTRY else "queue"
                return QueueEntered(101.0, move)
            case HangUp(_, channel):
                if channel == self._request.caller:
                    self._caller = "gone"
                elif channel in self.agents_up:
                    self._lose(channel)
            case TearDown(_, bridges):
                self.own_bridges -= set(bridges)
                self._bot_bridge &= self._request.place.bridge not in bridges
        return None

    def _lose(self, channel: ChannelId) -> None:
        self.agents_up.discard(channel)
        self._mixed.discard(channel)
        self._feed(AgentLost(101.0, channel, 0, 16))
