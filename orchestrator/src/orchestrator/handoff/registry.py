"""The face of the handoffs to the rest of the orchestrator: asking, adopting; following; news."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from orchestrator.handoff.comeback import Comebacks
from orchestrator.handoff.events import (
    AgentAccepted,
    CancelRequested,
    Deadline,
    DeadlinePassed,
)
from orchestrator.handoff.following import Following
from orchestrator.handoff.intake import Intake
from orchestrator.handoff.names import agent_of, owner_of
from orchestrator.handoff.news import News
from orchestrator.handoff.ports import Calls, Fenced, Ports, Sound
from orchestrator.handoff.queue_news import QueueNews
from orchestrator.handoff.refusals import OtherTenant, TooLate, UnknownHandoff
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.state import State, view
from orchestrator.handoff.steps import agent_channel, attempt_of
from orchestrator.handoff.tracks import (
    Accepted,
    AwaitingKey,
    Briefing,
    Joining,
    Left,
    Returning,
    Ringing,
    Talking,
    Waiting,
)
from orchestrator.handoff.whisperer import spoken
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

ADOPT_TRIES = 5


async def _nobody_else() -> bool:
    """The permit of one that cannot be replaced as heir."""
    return True


class Registry(Following, News, QueueNews):
    """All handoffs of this replica, and through the store those of the others.

    What becomes of them is told by its part Following, what they are told by its parts News and
    QueueNews.
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

    async def whisper(self, handoff: HandoffId, said: str | Sound, tenant: str) -> Sound:
        """Tells the agent of a running conversation something; the caller hears nothing of it.

        Returns what was said, when it has been. Raises UnknownHandoff, OtherTenant, TooLate: nobody
        talks (any more); NoSpeech, NotSaid, WhispersWaiting.
        """
        runner = self._runner(handoff)
        known = self._roster.known(handoff) if runner is None else view(runner.state)
        if known is not None and known.tenant != tenant:
            raise OtherTenant(f"handoff {handoff} is not of tenant {tenant}")
        if runner is None or runner.listener() is None:
            raise TooLate(f"handoff {handoff}: caller and agent do not talk")
        sound = said if isinstance(said, Sound) else await spoken(self._ports.speech, said)
        await runner.whisperer.whisper(sound)
        return sound

    def _runner(self, handoff: HandoffId) -> HandoffRunner | None:
        """None when it ended not long ago. Raises UnknownHandoff."""
        runner = self._roster.live(handoff)
        if runner is None and self._roster.known(handoff) is None:
            raise UnknownHandoff(f"no handoff {handoff} here")
        return runner

    # --- adopting -----------------------------------------------------------------------------

    async def adopt(
        self, tenant: str, call: CallId, permit: Callable[[], Awaitable[bool]] = _nobody_else
    ) -> HandoffId | None:
        """Goes on with the call's handoff, which a replica that is gone has left.

        `permit`: whether we are its heir still; asked before each try. None: there is none, it is
        over, or somebody else has it. From the return on the news of its channels is taken. Raises
        StoreError.
        """
        handoff = await self._ports.store.latest_of_call(tenant, call)
        if handoff is None or self._roster.live(handoff) is not None:
            return None
        for _ in range(ADOPT_TRIES):  # a last write of the dead one may still be on its way
            recalled = await self._ports.store.recall(tenant, handoff)
            if recalled is None or recalled.state.over or not await permit():
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

    def owes_dial(self, call: CallId) -> bool:
        """Whether an adopted handoff dials its agent once more: no end of that has been told."""
        runner = self._roster.of_call(call)
        return runner is not None and runner.owed_dial

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
        """Whether this channel or bridge is of a live handoff; of its agents only the last one."""
        if (agent := agent_of(ChannelId(thing))) is not None:
            runner = self._roster.live(agent[0])
            return runner is not None and attempt_of(runner.state.agent) == agent[1]
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
        """Channels of agents whose phones ring, or have been answered: those must be there.

        `node`: only those there.
        """
        return frozenset(
            agent_channel(runner.state, runner.state.agent.attempt)
            for runner in self._roster.runners()
            if node in ("", runner.state.request.place.node)
            and isinstance(
                runner.state.agent,
                Ringing | Briefing | AwaitingKey | Accepted | Joining | Waiting | Talking,
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


def _cancelled(state: State) -> bool:
    match state.caller:
        case Returning(_, Outcome.CANCELLED):
            return True
        case _:
            return state.outcome is Outcome.CANCELLED
