"""The face of the handoffs to the rest of the orchestrator: asking, following, and feeding news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from orchestrator.errors import StoreError
from orchestrator.handoff.comeback import Comebacks
from orchestrator.handoff.events import (
    AgentAccepted,
    AgentAnswered,
    AgentKey,
    AgentLost,
    AgentRinging,
    BotLost,
    CallerKey,
    CallerLeft,
    CancelRequested,
    ContextAcked,
    Deadline,
    DeadlinePassed,
    Event,
    PhraseEnded,
    Referred,
)
from orchestrator.handoff.intake import Intake
from orchestrator.handoff.names import agent_of, owner_of, phrase_of
from orchestrator.handoff.ports import Calls, Fenced, Ports, Sound
from orchestrator.handoff.refusals import TooLate, UnknownHandoff
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.state import State, view
from orchestrator.handoff.steps import agent_channel, attempt_of
from orchestrator.handoff.tracks import (
    Accepted,
    Asking,
    AwaitingKey,
    Bridged,
    Briefing,
    Joining,
    Left,
    Returning,
    Talking,
    Waiting,
)
from orchestrator.model import (
    CallId,
    ChannelId,
    Context,
    Escalation,
    Handoff,
    HandoffId,
    Outcome,
    Plan,
)

LOAD_SECONDS = 1.0
FOLLOW_SECONDS = 1.0
ADOPT_TRIES = 5
HISTORY_SECONDS = 0.01  # of what is stored already; Redis reads 0 as for ever


class Registry:
    """All handoffs of this replica, and through the store those of the others.

    Feeding methods are synchronous, never raise, and ignore what belongs to no live handoff.
    """

    def __init__(
        self,
        ports: Ports,
        calls: Calls,
        plan: Callable[[Escalation], Plan],
        new_id: Callable[[], HandoffId],
    ) -> None:
        self._ports = ports
        self._roster = Roster(ports.telephony_at, ports.tally)
        self._calls = calls
        self._intake = Intake(self._roster, ports, calls, plan, new_id, WeakValueDictionary())

        self._comebacks = Comebacks(self._roster, ports, new_id)

    async def run(self) -> None:
        """Runs the handoffs until it is cancelled; the calls live on in the PBX."""
        await self._roster.run()

    # --- asking -------------------------------------------------------------------------------

    async def escalate(self, escalation: Escalation) -> Handoff:
        """Takes a wish for a human; answers once it is durable, before anything happens in the PBX.

        Raises Refused: UnknownCall, RequestReused, InProgress, Forbidden.
        """
        asked_at = self._now()
        taken = await self._intake.escalate(escalation)
        self._ports.tally.took("escalate_ack", round((self._now() - asked_at) * 1000))
        if isinstance(taken, Handoff):
            return taken
        place = self._calls.locate(escalation.call_id)
        return (await self.get(taken, place.tenant if place else ""))[0]

    async def cancel(self, handoff: HandoffId) -> Handoff:
        """Raises UnknownHandoff, and TooLate when an agent was faster or it has ended otherwise."""
        runner = self._runner(handoff)
        if runner is None:
            ended = self._roster.known(handoff)
            if ended is not None and ended.outcome is Outcome.CANCELLED:
                return ended
            raise TooLate(f"handoff {handoff} has ended")
        after = await runner.ask(CancelRequested(self._ports.clock.now()))
        if not _cancelled(after):
            raise TooLate(f"handoff {handoff} can no longer be cancelled ({after.phase.name})")
        return view(after)

    async def patch_context(self, handoff: HandoffId, patch: Context, expected: int) -> Handoff:
        """Raises UnknownHandoff, TooLate, ContextMoved."""
        runner = self._runner(handoff)
        if runner is None:
            raise TooLate(f"handoff {handoff} has ended")
        return view(await runner.patch(patch, expected))

    async def whisper(self, handoff: HandoffId, said: str | Sound) -> None:
        """Tells the agent of a running conversation something; the caller hears nothing of it.

        Returns when it has been said. Raises UnknownHandoff, TooLate: nobody talks (any more);
        Unspoken, PbxError.
        """
        runner = self._runner(handoff)
        state = None if runner is None else runner.state
        attempt = None if state is None else attempt_of(state.agent)
        if state is None or attempt is None or not isinstance(state.caller, Bridged):
            raise TooLate(f"handoff {handoff}: caller and agent do not talk")
        node, agent = state.request.place.node, agent_channel(state, attempt)
        sound = said if isinstance(said, Sound) else await self._ports.speech.render(said)
        await self._ports.telephony_at(node).whisper(node, agent, sound)

    def _runner(self, handoff: HandoffId) -> HandoffRunner | None:
        """None when it ended not long ago. Raises UnknownHandoff."""
        runner = self._roster.live(handoff)
        if runner is None and self._roster.known(handoff) is None:
            raise UnknownHandoff(f"no handoff {handoff} here")
        return runner

    async def get(self, handoff: HandoffId, tenant: str = "") -> tuple[Handoff, Context]:
        """As it stands now. Raises UnknownHandoff."""
        if (runner := self._roster.live(handoff)) is not None:
            return view(runner.state), runner.context
        ended = self._roster.known(handoff)
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                loaded = await self._ports.store.load(ended.tenant if ended else tenant, handoff)
        except (StoreError, TimeoutError):
            loaded = None
        if loaded is not None:
            return view(loaded[0]), loaded[1]
        if ended is not None:
            return ended, Context()
        raise UnknownHandoff(f"no handoff {handoff}")

    async def get_of_call(self, call: CallId, tenant: str = "") -> tuple[Handoff, Context]:
        """The latest handoff of the call. Raises UnknownHandoff."""
        handoff = self._roster.latest(call)
        if handoff is None:
            try:
                async with asyncio.timeout(LOAD_SECONDS):
                    handoff = await self._ports.store.latest_of_call(tenant, call)
            except (StoreError, TimeoutError):
                handoff = None
        if handoff is None:
            raise UnknownHandoff(f"no handoff of call {call}")
        return await self.get(handoff, tenant)

    async def follow(
        self, handoff: HandoffId, after: int, tenant: str = ""
    ) -> AsyncIterator[Handoff]:
        """Every change with a revision above `after`, in order, until nothing changes any more.

        A live handoff is followed in memory, another one in the store. Raises UnknownHandoff,
        StoreError.
        """
        if (runner := self._roster.live(handoff)) is not None:
            async for change in self._before(runner, after):
                after = change.revision
                yield change
            async for change in runner.follow(after):
                yield change
            return
        last, _ = await self.get(handoff, tenant)
        while True:
            changes = await self._ports.store.history(last.tenant, handoff, after, FOLLOW_SECONDS)
            for change in changes:
                after = change.revision
                yield change
                if change.settled:
                    return
            if not changes and last.settled:
                return

    async def _before(self, runner: HandoffRunner, after: int) -> AsyncIterator[Handoff]:
        """What happened to a handoff before it was adopted; nothing when the store is away."""
        request, first = runner.state.request, runner.first_revision
        if after + 1 >= first:
            return
        try:
            past = await self._ports.store.history(
                request.place.tenant, request.handoff_id, after, HISTORY_SECONDS
            )
        except StoreError:
            return
        for change in past:
            if change.revision < first:
                yield change

    # --- adopting -----------------------------------------------------------------------------

    async def adopt(self, tenant: str, call: CallId) -> HandoffId | None:
        """Goes on with the call's handoff, which a replica that is gone has left.

        None: there is none, it is over, or somebody else has it. From the return on the news of
        its channels is taken. Raises StoreError.
        """
        handoff = await self._ports.store.latest_of_call(tenant, call)
        if handoff is None or self._roster.live(handoff) is not None:
            return None
        for _ in range(ADOPT_TRIES):  # a last write of the dead one may still be on its way
            recalled = await self._ports.store.recall(tenant, handoff)
            if recalled is None or recalled.state.over:
                return None
            before = recalled.state
            state = replace(before, revision=before.revision + 1, changed_at=self._now())
            views = (view(state),)
            try:  # the fence: whoever had it can write no more
                await self._ports.store.save(state, views, before.revision, None, recalled.owed)
            except Fenced:
                continue
            self._ports.tally.count("handoffs_adopted")
            runner = HandoffRunner(
                state, recalled.context, self._ports, stored=True, owed=recalled.owed
            )
            self._roster.launch(runner, recalled.fingerprint, None)
            return handoff
        return None

    def agent_of_call(self, call: CallId) -> ChannelId | None:
        """The agent's channel that is, or may be, up for this call's handoff."""
        runner = self._roster.of_call(call)
        attempt = None if runner is None else attempt_of(runner.state.agent)
        return None if runner is None or attempt is None else agent_channel(runner.state, attempt)

    def found(self, call: CallId, channel_state: str | None, *, together: bool) -> None:
        """What the PBX has of an adopted handoff's agent: its channel's state, None = no channel.

        `together`: caller and agent are in one bridge, whatever the store says.
        """
        runner, agent = self._roster.of_call(call), self.agent_of_call(call)
        if runner is None or agent is None:
            return
        match channel_state:
            case "Up":
                self.agent_answered(agent)
                if together:
                    runner.post(AgentAccepted(self._now()))
            case "Ringing":
                self.agent_ringing(agent)
            case None if not runner.owed_dial:  # what was listed is older than our dialling
                self.agent_lost(agent)

    def find_request(self, call: CallId, request_id: str) -> HandoffId | None:
        asked = self._roster.asked(call, request_id)
        return None if asked is None else asked.handoff

    def in_progress(self, call: CallId) -> HandoffId | None:
        """The handoff that has the caller now: nobody else may move them."""
        runner = self._roster.of_call(call)
        if runner is None or isinstance(runner.state.caller, Left):
            return None
        return runner.state.request.handoff_id

    def owns(self, thing: str) -> bool:
        """Whether this channel or bridge is of a live handoff."""
        if (handoff := owner_of(thing)) is not None:
            return self._roster.live(handoff) is not None
        return self.call_of(ChannelId(thing)) is not None

    def call_of(self, caller: ChannelId) -> CallId | None:
        """The call of a caller whom a handoff has now; after a queue nobody else knows them."""
        for runner in self._roster.runners():
            if runner.state.request.caller == caller and not isinstance(runner.state.caller, Left):
                return runner.state.request.call_id
        return None

    def agents(self, node: str = "") -> frozenset[ChannelId]:
        """Channels of agents who have answered: those must be up. `node`: only those there."""
        return frozenset(
            agent_channel(runner.state, runner.state.agent.attempt)
            for runner in self._roster.runners()
            if node in ("", runner.state.request.place.node)
            and isinstance(
                runner.state.agent,
                Briefing | AwaitingKey | Accepted | Joining | Waiting | Talking,
            )
        )

    def write_again(self) -> None:
        """The store has lost its memory."""
        for runner in self._roster.runners():
            runner.write_again()

    @property
    def busy(self) -> bool:
        """Whether any handoff is under way."""
        return bool(self._roster.runners())

    def give_up(self) -> None:
        """Nobody is waited for any more: callers without an agent take their way out now."""
        for runner in self._roster.runners():
            runner.post(DeadlinePassed(self._now(), Deadline.GIVE_UP))

    # --- news ---------------------------------------------------------------------------------

    def agent_ringing(self, channel: ChannelId) -> None:
        self._of_agent(channel, AgentRinging(self._now(), channel))

    def agent_answered(self, channel: ChannelId) -> bool:
        """False: nobody wants this channel any more, the caller of this method hangs it up."""
        return self._of_agent(channel, AgentAnswered(self._now(), channel))

    def agent_key(self, channel: ChannelId, digit: str) -> None:
        self._of_agent(channel, AgentKey(self._now(), channel, digit))

    def agent_lost(self, channel: ChannelId, sip_status: int = 0, q850_cause: int = 0) -> None:
        self._of_agent(channel, AgentLost(self._now(), channel, sip_status, q850_cause))

    def agent_accepted(self, handoff: HandoffId) -> bool:
        """A click instead of a key. False: no such live handoff."""
        return self._post(self._roster.live(handoff), AgentAccepted(self._now()))

    def context_acked(self, handoff: HandoffId) -> bool:
        return self._post(self._roster.live(handoff), ContextAcked(self._now()))

    def caller_left(self, call: CallId, *, hung_up: bool) -> None:
        """`hung_up` False: the channel only left our application (StasisEnd)."""
        self._post(self._roster.of_call(call), CallerLeft(self._now(), hung_up))

    def caller_key(self, call: CallId, digit: str) -> None:
        self._post(self._roster.of_call(call), CallerKey(self._now(), digit))

    async def queue_ended(
        self, handoff: HandoffId, tenant: str, caller: ChannelId, status: str
    ) -> bool:
        """A queue gave up a caller whom this handoff sent there, and who is ours again.

        `status`: Asterisk's QUEUESTATUS. False: the caller is nobody's here.
        """
        return await self._comebacks.take(handoff, tenant, caller, status)

    def referred(self, call: CallId, status: str, sip_status: int) -> bool:
        """What became of a REFER. False: no handoff of this call waits for it."""
        runner = self._roster.of_call(call)
        if runner is None or not isinstance(runner.state.caller, Asking):
            return False
        return self._post(runner, Referred(self._now(), status, sip_status))

    def asking(self, call: CallId) -> bool:
        """Whether the caller is in the dialplan for a REFER, and expected back."""
        runner = self._roster.of_call(call)
        return runner is not None and isinstance(runner.state.caller, Asking)

    def phrase_ended(self, call: CallId, utterance: str) -> None:
        runner = self._roster.of_call(call)
        if runner is not None and runner.state.request.say_first == utterance:
            runner.post(PhraseEnded(self._now()))

    def playback_ended(self, playback: str, *, failed: bool) -> None:
        """Of the PBX's own media: the rules' phrase has been heard, or cannot be played."""
        if (handoff := phrase_of(playback)) is None:
            return
        if failed:
            self._ports.tally.count("handoff_phrases_failed")
        self._post(self._roster.live(handoff), PhraseEnded(self._now()))

    def bot_lost(self, call: CallId) -> None:
        """The bot will say nothing more: its phrase is not waited for, nobody returns to it."""
        self._post(self._roster.of_call(call), BotLost(self._now()))

    def _of_agent(self, channel: ChannelId, event: Event) -> bool:
        if (owner := agent_of(channel)) is None:
            return False
        return self._post(self._roster.live(owner[0]), event)

    def _post(self, runner: HandoffRunner | None, event: Event) -> bool:
        if runner is None:
            return False
        runner.post(event)
        return True

    def _now(self) -> float:
        return self._ports.clock.now()


def _cancelled(state: State) -> bool:
    match state.caller:
        case Returning(_, Outcome.CANCELLED):
            return True
        case _:
            return state.outcome is Outcome.CANCELLED
