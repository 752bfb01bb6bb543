"""Tells an agent something in mid-call, one thing after the other; the caller hears none of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.errors import PeerError
from orchestrator.handoff.asides import Asides
from orchestrator.handoff.ports import ChannelGone, Ports, Sound, Speech, Unspoken
from orchestrator.handoff.refusals import NoSpeech, NotSaid, Refused, TooLate, WhispersWaiting
from orchestrator.model import ChannelId, NodeName

log = logging.getLogger(__name__)

WAITING = 4
TEXT_SECONDS = 2.0  # a text has to be speech by then
MARGIN_SECONDS = 5.0  # beyond the sound's own length

Listener = Callable[[], tuple[NodeName, ChannelId] | None]
"""Where the agent is who talks with the caller now."""


class Whisperer:
    """Of one handoff. `asides`: what the call's AIs say to the agent after the merge."""

    def __init__(self, ports: Ports, asides: Asides, listener: Listener) -> None:
        self._ports = ports
        self._asides = asides
        self._listener = listener
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def whisper(self, sound: Sound) -> None:
        """Returns when it has been said. Cancelled: it is silent at once.

        Raises TooLate: nobody talks (any more); WhispersWaiting; NotSaid.
        """
        self._whom()
        if self._waiting >= WAITING:
            raise WhispersWaiting(f"{WAITING} whispers wait to be said")
        self._waiting += 1
        try:
            await self._say_in_turn(sound)
        finally:
            self._waiting -= 1

    async def _say_in_turn(self, sound: Sound) -> None:
        async with self._turn:
            await self._say(sound)

    async def _say(self, sound: Sound) -> None:
        node, agent = self._whom()
        try:
            async with asyncio.timeout(sound.seconds + MARGIN_SECONDS):
                await self._ports.telephony_at(node).whisper(node, agent, sound)
        except ChannelGone as error:
            raise TooLate(f"the agent has left: {error}") from error
        except (PeerError, TimeoutError) as error:
            self._ports.tally.count("handoff_whispers_failed")
            raise NotSaid(str(error) or "the PBX does not say it") from error

    def _whom(self) -> tuple[NodeName, ChannelId]:
        if (listener := self._listener()) is None:
            raise TooLate("caller and agent do not talk")
        return listener

    async def run(self) -> None:
        """Says what the AIs have for the agent, for ever."""
        while True:
            sound = await self._asides.next(None)
            if sound is None:
                continue
            try:
                async with self._asides.saying():
                    await self._say_in_turn(sound)
            except NotSaid as error:  # counted
                log.warning("not told to the agent: %s", error)
            except Refused as error:
                self._ports.tally.count("agent_speech_unheard")
                log.warning("not told to the agent: %s", error)
            except Exception:  # our own bug
                self._ports.tally.count("handoff_whispers_failed")
                log.exception("whisper")


async def spoken(speech: Speech, text: str) -> Sound:
    """Raises NoSpeech."""
    try:
        async with asyncio.timeout(TEXT_SECONDS):
            return await speech.render(text)
    except (Unspoken, TimeoutError) as error:
        raise NoSpeech(f"the text is not spoken: {error or 'timed out'}") from error
