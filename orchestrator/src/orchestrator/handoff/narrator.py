"""Briefs the agent, or tells the caller a phrase: by which voice, and that it holds nothing up.

A briefing's words are taken when it begins, so that what the AI learns while the phone rings is in
them. What the AI says to the agent in its own voice goes before any words, and follows those begun.
 Speech that is slow, fails or does not exist leaves it unsaid: what waits for its end goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from orchestrator.errors import PeerError
from orchestrator.handoff import names
from orchestrator.handoff.asides import Asides
from orchestrator.handoff.effects import BriefAgent, SayPhrase
from orchestrator.handoff.events import BriefingEnded, BriefingStarted, Event, PhraseEnded
from orchestrator.handoff.ports import Ports, Sound
from orchestrator.handoff.state import Request
from orchestrator.model import Context

log = logging.getLogger(__name__)

SPEECH_SECONDS = 2.0  # a text has to be speech by then
MARGIN_SECONDS = 5.0  # beyond the sound's own length
BRIEFING_RATE = 8000  # of Context.briefing_audio
SPOKEN_SECONDS = 2.0  # an AI that briefs the agent in its own voice has begun by then
WAITING = 8  # one agent at a time is briefed, and a handoff dials few; a phrase is told once


class Narrator:
    """A voice of one handoff, for one listener. `start` and `stop` come from the table."""

    def __init__(
        self,
        ports: Ports,
        request: Request,
        context: Callable[[], Context],
        post: Callable[[Event, str], None],
        asides: Asides | None = None,
    ) -> None:
        """`asides`: what the AI says to the agent alone; None for who speaks to the caller."""
        self._ports = ports
        self._request = request
        self._context = context
        self._post = post
        self._asides = asides
        self._wanted: asyncio.Queue[BriefAgent | SayPhrase] = asyncio.Queue(WAITING)
        self._stopped = asyncio.Event()

    def start(self, effect: BriefAgent | SayPhrase) -> None:
        """Its end is posted in every case, BriefingStarted when the agent hears it."""
        self._stopped.clear()
        self._wanted.put_nowait(effect)

    def stop(self) -> None:
        """Silent at once."""
        self._stopped.set()

    async def run(self) -> None:
        while True:
            effect = await self._wanted.get()
            async with asyncio.TaskGroup() as both:
                speaking = both.create_task(self._speak(effect))
                stopping = both.create_task(self._stopped.wait())
                await asyncio.wait({speaking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                speaking.cancel()
                stopping.cancel()
            now = self._ports.clock.now()
            match effect:
                case BriefAgent(_, channel):
                    self._post(BriefingEnded(now, channel), effect.id)
                case SayPhrase():
                    self._post(PhraseEnded(now), effect.id)

    async def _speak(self, effect: BriefAgent | SayPhrase) -> None:
        if self._asides is None:
            await self._say_words(effect)
            return
        own = await self._asides.next(self._patience())
        if own is not None:
            self._asides.tell_anew()
        elif not await self._say_again(effect, self._asides):
            await self._say_words(effect)
        while own := own or await self._asides.next(0.0):
            async with self._asides.saying(again_to_the_next=True):
                await self._say(effect, own)
            own = None

    async def _say_again(self, effect: BriefAgent | SayPhrase, asides: Asides) -> bool:
        """What the AI has told an agent who is gone; False: nothing."""
        again = False
        for told in asides.told():
            again = True
            async with asides.saying(told):
                await self._say(effect, told.sound)
        return again

    def _patience(self) -> float:
        """How long the AI's own voice is waited for, in seconds."""
        context = self._context()
        words = context.briefing_audio or context.briefing_text or self._request.plan.briefing
        return SPOKEN_SECONDS if context.briefing_spoken or not words else 0.0

    async def _say_words(self, effect: BriefAgent | SayPhrase) -> None:
        if (sound := await self._sound(effect, _what(effect))) is not None:
            await self._say(effect, sound)

    async def _say(self, effect: BriefAgent | SayPhrase, sound: Sound) -> None:
        what = _what(effect)
        try:
            async with asyncio.timeout(sound.seconds + MARGIN_SECONDS):
                await self._perform(effect, sound)
        except (PeerError, TimeoutError) as error:
            self._unsaid(f"handoff_{what}_failed", str(error) or "timed out")
        except Exception:
            self._ports.tally.count(f"handoff_{what}_failed")
            log.exception("effect %s", effect.id)

    async def _perform(self, effect: BriefAgent | SayPhrase, sound: Sound) -> None:
        handoff, node = self._request.handoff_id, self._request.place.node
        telephony, now = self._ports.telephony_at(node), self._ports.clock.now
        match effect:
            case BriefAgent(_, channel):
                await telephony.brief(
                    node,
                    channel,
                    names.briefing_bridge(handoff),
                    sound,
                    lambda: self._post(BriefingStarted(now(), channel), ""),
                )
            case SayPhrase(_, caller):
                await telephony.tell(node, caller, names.told_caller(handoff), sound)

    async def _sound(self, effect: BriefAgent | SayPhrase, what: str) -> Sound | None:
        """For the agent the AI's own audio, else its text, else the rules'; None: nothing."""
        context = self._context()
        if isinstance(effect, SayPhrase):
            text = effect.text
        elif context.briefing_audio:
            return Sound(context.briefing_audio, BRIEFING_RATE)
        else:
            text = context.briefing_text or self._request.plan.briefing
        if not text:
            return None
        try:
            async with asyncio.timeout(SPEECH_SECONDS):
                return await self._ports.speech.render(text)
        except (PeerError, TimeoutError) as error:
            self._unsaid(f"handoff_{what}_unspoken", str(error) or "timed out")
        except Exception:
            self._ports.tally.count(f"handoff_{what}_unspoken")
            log.exception("effect %s", effect.id)
        return None

    def _unsaid(self, count: str, why: str) -> None:
        self._ports.tally.count(count)
        log.warning("%s of %s: %s", count, self._request.handoff_id, why)


def _what(effect: BriefAgent | SayPhrase) -> str:
    """In the names of what is counted."""
    return "briefings" if isinstance(effect, BriefAgent) else "phrases"
