"""What the PBX, the workers and the agents' screens tell the handoffs."""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.handoff.asides import Piece
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
    ContextAcked,
    Event,
    PhraseEnded,
    Referred,
)
from orchestrator.handoff.names import agent_of, phrase_of
from orchestrator.handoff.ports import Ports
from orchestrator.handoff.roster import Roster
from orchestrator.handoff.runner import HandoffRunner
from orchestrator.handoff.tracks import Asking
from orchestrator.model import CallId, ChannelId, HandoffId, Pattern


class News:
    """Part of handoff.registry.Registry.

    Synchronous but where it says otherwise, never raises, ignores what belongs to no live handoff.
    """

    _ports: Ports
    _roster: Roster
    _comebacks: Comebacks

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
        runner = self._roster.of_call(call)
        if runner is not None and runner.listener() is None:
            runner.asides.end()
        self._post(runner, BotLost(self._now()))

    def agent_speech(self, call: CallId, piece: Piece) -> None:
        """An AI says something to the agent alone; before the merge only WARM_WHISPER has ears."""
        runner = self._roster.of_call(call)
        if runner is None or not (
            runner.listener() or runner.state.request.plan.pattern is Pattern.WARM_WHISPER
        ):
            self._ports.tally.count("agent_speech_unheard")
        else:
            runner.asides.add(piece)

    def agent_speech_cleared(self, call: CallId, seat: int, utterances: Collection[str]) -> None:
        """The AI wants these silenced, none named: all of its own."""
        if (runner := self._roster.of_call(call)) is not None:
            runner.asides.clear(seat, utterances)

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
