"""A receptionist: greets, spots a few phrases, answers, and hands disputes to a human.

python receptionist.py --listen 127.0.0.1:7000 (needs flite, and the extra `demo`). What it heard
and said goes to stdout as one JSON object a line: {"event", "call_id", "t", "text"}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from functools import partial

from voicefork.handoff.v1.handoff_pb2 import Context, TranscriptLine
from voicefork_sdk.call import Call
from voicefork_sdk.escalation import Escalation
from voicefork_sdk.events import Audio, CallState, Event, HandoffUpdate, PlayState, Speech
from voicefork_sdk.model import (
    PCM_8K,
    Barge,
    CallStatus,
    Leg,
    LegKind,
    Phase,
    PlayStatus,
    Role,
)
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import serve
from voicefork_sdk.speech.bank_phrases import NARROW, PHRASES
from voicefork_sdk.speech.phrases import Heard, PhraseEars, PhraseSpotters
from voicefork_sdk.speech.voice import synthesise

OPTIONS = AgentOptions(name="receptionist", uplink=(PCM_8K,), downlink=(PCM_8K,))

LINES = {
    "greeting": "Hello, this is the Voicefork assistant. How can I help you?",
    "hours": "We are open from nine to five, Monday to Friday.",
    "balance": "Your balance is two hundred and fifty dollars.",
    "goodbye": "Thank you for calling. Goodbye.",
    "dispute": "One moment, please.",
    "human": "Of course. Let me get a colleague for you.",
    "sorry": "I am sorry, nobody is free right now. What else can I do for you?",
}
# What the recognisers take the telephone line's mean from: a fixed text, so that the thresholds
# tuned with it do not move with every word changed above.
WARM_UP = (
    "Hello, this is the Voicefork assistant. How can I help you?",
    "We are open from nine to five, Monday to Friday.",
    "Your balance is two hundred and fifty dollars.",
    "Thank you for calling. Goodbye.",
    "I understand you want to dispute a charge. Let me get a colleague for you.",
    "Of course. Let me get a colleague for you.",
    "I am sorry, nobody is free right now. Is there anything else I can do for you?",
)
SUMMARIES = {
    "dispute": "The caller wants to dispute a charge.",
    "human": "The caller asked to speak to a person.",
}
# What a bank's own system would tell about who calls.
ACCOUNTS = {"+14155550100": {"account": "4092", "amount": "150"}}
BRIEFING = "Escalating account {account}. Caller disputes a {amount} dollar charge."
SPEAKERS = {"heard": TranscriptLine.SPEAKER_CUSTOMER, "said": TranscriptLine.SPEAKER_BOT}
TRANSITION = "transition"  # the utterance that is finished before the caller is put on hold
_HANDOFF_SECONDS = 15.0  # without a word of the handoff for so long, the caller is told


class Receptionist:
    """One call."""

    def __init__(self, call: Call, ears: PhraseEars, lines: dict[str, bytes]) -> None:
        self._call = call
        self._ears = ears
        self._lines = lines
        self._said = 0
        self._speaking: str | None = None
        self._escalation: Escalation | None = None
        self._escalated_at = 0.0
        self._escalations = 0
        self._turns: list[TranscriptLine] = []

    async def attend(self) -> None:
        async for event in self._call.events():
            if isinstance(event, Audio):
                self._ears.hear(event.of(LegKind.CUSTOMER), event.pts)
                for heard in self._ears.heard():
                    await self._answer(heard)
                await self._watch_handoff()
            else:
                await self._react(event)

    async def _react(self, event: Event) -> None:
        match event:
            case CallState(CallStatus.ANSWERED) if not self._said:
                await self._say("greeting")
            case Speech(leg, started=True) if leg.kind is LegKind.CUSTOMER:
                self._hush()
            case PlayState(name, PlayStatus.FINISHED | PlayStatus.CUT) if name == self._speaking:
                self._speaking = None
                if event.status is PlayStatus.FINISHED and name.startswith("goodbye"):
                    self._call.hang_up("the caller said goodbye")  # and nothing since
            case HandoffUpdate(phase=phase):
                self._tell("handoff", phase.name)
                if phase in (Phase.FAILED, Phase.RETURNED, Phase.CANCELLED):
                    await self._apologise()
            case _:
                pass

    async def _answer(self, heard: Heard) -> None:
        self._tell("heard", heard.phrase)
        self._call.transcript(heard.phrase, from_pts=heard.from_pts, to_pts=heard.to_pts)
        if self._escalation is not None or not self._call.may_speak:
            return  # a human is on the way
        self._hush()
        self._call.intent(heard.intent, slots=self._slots(heard))
        if heard.intent in SUMMARIES:
            await self._escalate(heard)
        else:
            await self._say(heard.intent)

    async def _escalate(self, heard: Heard) -> None:
        self._escalations += 1
        transition = TRANSITION + (f"-{self._escalations}" if self._escalations > 1 else "")
        await self._say(heard.intent, utterance_id=transition, barge=Barge.NOT_INTERRUPTIBLE)
        self._escalated_at = time.monotonic()
        context = self._context(heard)
        self._escalation = await self._call.escalate(
            reason=SUMMARIES[heard.intent],
            intent=heard.intent,
            say_first=transition,
            context=context,
        )
        self._tell("escalated", heard.intent)
        self._tell("briefing", context.briefing_text)

    def _context(self, heard: Heard) -> Context:
        """What the human sees, and hears, so that the caller need not repeat it."""
        slots = self._slots(heard)
        context = Context(
            summary=SUMMARIES[heard.intent],
            transcript_tail=self._turns,
            customer_reference=slots.get("account", ""),
            briefing_text=_briefing(heard.intent, slots),
        )
        context.slots.update(slots)
        context.evidence.add(
            kind="phrase", text=heard.phrase, from_pts=heard.from_pts, to_pts=heard.to_pts
        )
        return context

    async def _watch_handoff(self) -> None:
        """Nobody took the request up: the caller is not left waiting."""
        waiting = self._escalation is not None and self._escalation.latest is None
        if waiting and time.monotonic() - self._escalated_at > _HANDOFF_SECONDS:
            await self._apologise()

    async def _apologise(self) -> None:
        if self._escalation is not None and self._call.may_speak:
            self._escalation = None
            await self._say("sorry")

    async def _say(
        self, line: str, *, utterance_id: str = "", barge: Barge = Barge.AUTO_CLEAR
    ) -> None:
        self._said += 1
        self._speaking = utterance_id or f"{line}-{self._said}"
        self._tell("said", LINES[line])
        await self._call.speak(self._speaking, self._lines[line], barge=barge)

    def _hush(self) -> None:
        """The caller speaks: so does nobody else. Only the transition is finished."""
        if self._speaking is not None and not self._speaking.startswith(TRANSITION):
            self._call.clear(self._speaking)
            self._speaking = None

    def _slots(self, heard: Heard) -> dict[str, str]:
        opening = self._call.opening
        told = opening.headers.get("X-Account", "")
        known = {"account": told} if told else _account(opening.leg(LegKind.CUSTOMER))
        return {"said": heard.phrase, **known}

    def _tell(self, event: str, text: str) -> None:
        call_id, now = self._call.opening.call_id, round(time.time(), 3)
        print_line(json.dumps({"event": event, "call_id": call_id, "t": now, "text": text}))
        if (speaker := SPEAKERS.get(event)) is not None:
            turn = TranscriptLine(speaker=speaker, text=text)
            turn.at.GetCurrentTime()
            self._turns = [*self._turns, turn][-20:]


def _account(customer: Leg | None) -> dict[str, str]:
    """What is known of the number that calls."""
    number = customer.aor.partition(":")[2].partition("@")[0] if customer else ""
    return ACCOUNTS.get(number, {})


def _briefing(intent: str, slots: dict[str, str]) -> str:
    """What the human hears before the caller."""
    if intent == "dispute" and {"account", "amount"} <= slots.keys():
        return BRIEFING.format_map(slots)
    return SUMMARIES[intent]


async def on_call(call: Call, spotters: PhraseSpotters, lines: dict[str, bytes]) -> None:
    if call.opening.role is not Role.PRIMARY:
        async for _ in call.events():
            pass
        return
    with PhraseEars(spotters) as ears:
        await Receptionist(call, ears, lines).attend()


def spotters(voice: str) -> PhraseSpotters:
    """Recognisers that have heard a telephone line before: the receptionist's own voice on it."""
    heard = synthesise(dict(enumerate(WARM_UP)), voice)
    return PhraseSpotters(PHRASES, pronunciations=NARROW, warm_up=b"".join(heard.values()))


def print_ready(address: str) -> None:
    print_line(f"ready agent={address}")


def print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description="A receptionist for voicefork.agent.v1.")
    arguments.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    arguments.add_argument("--voice", default="slt", help="a voice of flite")
    parsed = arguments.parse_args()
    lines = synthesise(LINES, parsed.voice)
    agent = partial(on_call, spotters=spotters(parsed.voice), lines=lines)
    asyncio.run(serve(agent, parsed.listen, options=OPTIONS, on_ready=print_ready))


if __name__ == "__main__":
    main()
