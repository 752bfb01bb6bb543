"""Performs telephony effects through the port, and says as events what came of them."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.errors import NoSuchPlace, PeerError, Unreachable
from orchestrator.handoff.effects import (
    AddAgent,
    Announce,
    ContinueInDialplan,
    DialAgent,
    HangUp,
    HoldCaller,
    MakeHolding,
    MakeMix,
    MoveCaller,
    PlayPrompt,
    ReturnToBot,
    StartMusic,
    StopPlaying,
    TearDown,
    TelephonyEffect,
)
from orchestrator.handoff.events import (
    AgentJoined,
    AgentLost,
    AriFailed,
    CallerHeld,
    CallerLeft,
    CallerMerged,
    CallerReturned,
    Event,
    HoldReady,
    MixReady,
    QueueEntered,
)
from orchestrator.handoff.names import agent_of
from orchestrator.handoff.ports import ChannelGone, Clock, Tally, Telephony
from orchestrator.model import Outcome, Place

log = logging.getLogger(__name__)

STEP_SECONDS = 3.0  # above the ARI client's own limit, which should come first
CLEANUP_TRIES = 3
CLEANUP_PAUSE = 0.3


class Pbx:
    """The telephony of one handoff's place."""

    def __init__(self, telephony: Telephony, place: Place, clock: Clock, tally: Tally) -> None:
        self._telephony = telephony
        self._place = place
        self._clock = clock
        self._tally = tally

    async def perform(self, effect: TelephonyEffect) -> Event | None:
        """The effect's answer; None where the table expects none. Never raises."""
        tries = CLEANUP_TRIES if isinstance(effect, HangUp | TearDown) else 1
        failure: Event | None = None
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(CLEANUP_PAUSE)
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    return await self._step(effect)
            except ChannelGone as gone:
                return self._gone(effect, gone)
            except (Unreachable, TimeoutError) as error:
                failure = self._failed(effect, Outcome.PBX_UNREACHABLE, str(error) or "timed out")
            except NoSuchPlace as error:
                failure = self._failed(effect, Outcome.UNREACHABLE, str(error))
            except PeerError as error:
                failure = self._failed(effect, Outcome.PBX_ERROR, str(error))
            except Exception:
                log.exception("effect %s", effect.id)
                failure = self._failed(effect, Outcome.PBX_ERROR, "our own fault")
        return failure

    def _gone(self, effect: TelephonyEffect, gone: ChannelGone) -> Event | None:
        """A channel that is not there is news of whoever was on it, not a fault."""
        now, channel = self._clock.now(), gone.channel
        if isinstance(effect, HangUp | TearDown):
            return None
        if channel == self._place.caller:
            return CallerLeft(now)
        if agent_of(channel) is not None:
            return AgentLost(now, channel, q850_cause=gone.q850_cause)
        return self._failed(effect, Outcome.PBX_ERROR, f"{channel} is gone")

    def _failed(self, effect: TelephonyEffect, outcome: Outcome, error: str) -> AriFailed:
        self._tally.count("handoff_effects_failed")
        log.warning("effect %s failed: %s", effect.id, error)
        return AriFailed(self._clock.now(), effect.id, outcome, error)

    async def _step(self, effect: TelephonyEffect) -> Event | None:
        pbx, node, now = self._telephony, self._place.node, self._clock.now
        match effect:
            case MakeHolding(_, bridge, music):
                await pbx.make_holding(node, bridge, music)
                return HoldReady(now())
            case HoldCaller(_, move, caller, bridge, music):
                await pbx.hold(node, caller, bridge, music)
                return CallerHeld(now(), move)
            case MakeMix(_, bridge):
                await pbx.make_mix(node, bridge)
                return MixReady(now())
            case AddAgent(_, channel, bridge):
                await pbx.add_agent(node, channel, bridge)
                return AgentJoined(now(), channel)
            case MoveCaller(_, move, caller, bridge):
                await pbx.move_caller(node, caller, bridge)
                return CallerMerged(now(), move)
            case ReturnToBot(_, move, caller, bridge):
                await pbx.return_to_bot(node, caller, bridge)
                return CallerReturned(now(), move)
            case ContinueInDialplan(_, move, caller, entry, variables, music):
                await pbx.continue_in_dialplan(
                    node, caller, entry, variables=variables, music=music
                )
                return QueueEntered(now(), move)
            case _:
                await self._unanswered(effect)
                return None

    async def _unanswered(
        self,
        effect: DialAgent | PlayPrompt | Announce | StopPlaying | StartMusic | HangUp | TearDown,
    ) -> None:
        pbx, node = self._telephony, self._place.node
        match effect:
            case DialAgent(_, channel, target, ring_seconds, variables):
                await pbx.dial(
                    node,
                    channel,
                    target,
                    caller=self._place.caller,
                    ring_seconds=ring_seconds,
                    variables=variables,
                )
            case PlayPrompt(_, channel, playback, media) | Announce(_, channel, playback, media):
                await pbx.play(node, channel, playback, media)
            case StopPlaying(_, playback):
                await pbx.stop_playing(node, playback)
            case StartMusic(_, caller, music):
                await pbx.start_music(node, caller, music)
            case HangUp(_, channel):
                await pbx.hang_up(node, channel)
            case TearDown(_, bridges):
                for bridge in bridges:
                    await pbx.destroy_bridge(node, bridge)
