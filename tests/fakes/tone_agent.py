"""An AI vendor whose voice is a tone, and whose diary says which tones it hears.

    python tone_agent.py --listen 127.0.0.1:0 [--hz 1000] [--open-after 2.5] [--legs both] ...

Once the call is ANSWERED it speaks for ever: INTRO_MS of its intro tone, then its own. Keys the
caller presses give orders: `*` clears and is silent, `1` speaks again, `#` hangs up, `0` fails,
`9` escalates. The diary goes to stdout as one JSON object a line, {"t": seconds since the epoch,
"call": id, "event": ..., ...}:

    open    role, route, legs, customer (address of record)
    heard   leg, hz: the tones of WINDOW_MS of that leg, pts
    state, party, play, gap, dtmf, close, cleared, escalated
    handoff phase, outcome
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import defaultdict
from functools import partial

import numpy as np
from voicefork_cli.measure.pcm import Pcm, tone
from voicefork_cli.measure.tones import tones_in
from voicefork_sdk.call import Call
from voicefork_sdk.events import Audio, CallState, Close, Dtmf, Event, Gap, PartyChange, PlayState
from voicefork_sdk.model import PCM_8K, Barge, LegKind, Role
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import AgentServer
from voicefork_sdk.stream import Context

RATE = PCM_8K.sample_rate
WINDOW_MS = 200
INTRO_MS = 200
LEGS = {"customer": (LegKind.CUSTOMER,), "both": (LegKind.CUSTOMER, LegKind.PBX), "default": ()}
SPOKEN = "tone"


class Ears:
    """Cuts each leg's audio into windows and fits the candidates to them."""

    def __init__(self, candidates: tuple[float, ...]) -> None:
        self._candidates = candidates
        self._waiting: dict[LegKind, list[Pcm]] = defaultdict(list)

    def hear(self, audio: Audio) -> list[tuple[LegKind, list[float]]]:
        """The windows that this moment completes: leg and tones (Hz)."""
        heard = []
        for part in audio.legs:
            waiting = self._waiting[part.leg.kind]
            waiting.append(np.frombuffer(part.payload, "<i2"))
            if sum(map(len, waiting)) >= RATE * WINDOW_MS // 1000:
                found = tones_in(np.concatenate(waiting), self._candidates)
                heard.append((part.leg.kind, sorted(found)))
                waiting.clear()
        return heard


class ToneCall:
    """One call."""

    def __init__(self, call: Call, arguments: argparse.Namespace) -> None:
        self._call = call
        self._silent = arguments.silent or call.opening.role is not Role.PRIMARY
        self._intro = tone(arguments.intro_hz, RATE * INTRO_MS // 1000)
        self._second = tone(arguments.hz, RATE)
        self._ears = Ears(tuple(arguments.candidates))

    async def attend(self) -> None:
        opening = self._call.opening
        customer = opening.leg(LegKind.CUSTOMER)
        self._tell(
            "open",
            role=opening.role.name,
            route=opening.route,
            direction=opening.direction,
            legs=[leg.kind.name for leg in opening.legs],
            customer=customer.aor if customer else "",
        )
        if not self._silent:
            self._call.spawn(self._talk())
        async for event in self._call.events():
            self._react(event)

    async def _talk(self, spoken: str = SPOKEN) -> None:
        """Until it is cleared, or the call is over."""
        await self._call.answered()
        words = self._intro
        while await self._call.speak(
            spoken, words.tobytes(), last=False, barge=Barge.NOT_INTERRUPTIBLE
        ):
            words = self._second

    def _react(self, event: Event) -> None:
        match event:
            case Audio():
                for leg, hz in self._ears.hear(event):
                    self._tell("heard", leg=leg.name, hz=hz, pts=event.pts)
            case CallState(status):
                self._tell("state", status=status.name)
            case PartyChange(leg, party):
                self._tell("party", leg=leg.kind.name, party=party.name)
            case PlayState(name, status, played_ms):
                self._tell("play", utterance=name, status=status.name, played_ms=played_ms)
            case Gap(leg, begin, end, cause):
                self._tell("gap", leg=leg.kind.name, samples=end - begin, cause=cause.name)
            case Dtmf(leg, digit, duration_ms):
                self._tell("dtmf", leg=leg.kind.name, digit=digit, duration_ms=duration_ms)
                self._obey(digit)
            case Close(reason, text):
                self._tell("close", reason=reason.name, text=text)
            case _:
                pass

    def _obey(self, digit: str) -> None:
        match digit:
            case "*":
                self._call.clear()
                self._tell("cleared")
            case "#":
                self._call.clear()
                self._call.hang_up("the caller pressed #")
            case "9":
                self._call.spawn(self._escalate())
            case "1":
                self._call.spawn(self._talk("again"))
            case "0":
                raise RuntimeError("told to fail")
            case _:
                pass

    async def _escalate(self) -> None:
        escalation = await self._call.escalate(reason="the caller pressed 9")
        self._tell("escalated")
        async for update in escalation.updates():
            self._tell("handoff", phase=update.phase.name, outcome=update.outcome.name)

    def _tell(self, event: str, **more: object) -> None:
        told = {"t": time.time(), "call": self._call.opening.call_id, "event": event, **more}
        write(json.dumps(told))


class LateServer(AgentServer):
    """Takes its time to open, or never does (None)."""

    open_after: float | None = 0.0

    async def converse(self, context: Context) -> None:
        if self.open_after is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self.open_after or 0.0)
        await super().converse(context)


async def run(arguments: argparse.Namespace) -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = AgentOptions(
        name="tone",
        uplink=(PCM_8K,),
        downlink=(PCM_8K,),
        legs=LEGS[arguments.legs],
        ahead_ms=arguments.ahead_ms,
        resume_seconds=arguments.resume,
    )
    on_call = partial(attend, arguments=arguments)
    server = LateServer(on_call, listen=arguments.listen, options=options)
    server.open_after = None if arguments.never_open else arguments.open_after
    async with server:
        write(f"ready agent={server.address}")
        await stop.wait()


async def attend(call: Call, arguments: argparse.Namespace) -> None:
    await ToneCall(call, arguments).attend()


def write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--hz", type=int, default=1000, help="its voice")
    parser.add_argument("--intro-hz", type=int, default=1600, help="its first words")
    parser.add_argument("--candidates", type=float, nargs="+", default=[350, 440, 1000, 1600])
    parser.add_argument("--resume", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--open-after", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--never-open", action="store_true")
    parser.add_argument("--silent", action="store_true", help="opens and says nothing")
    parser.add_argument("--legs", choices=LEGS, default="default", help="what it asks to hear")
    parser.add_argument("--ahead-ms", type=int, default=2000, help="speech sent in advance")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
