"""Many callers in a process of their own, so that nobody else's work makes their audio late.

    crowd.py EDGE CALLS HZ          EDGE is host:port of SIP by UDP

`CALLS` callers at once, then one more a second; all talk (a tone of `HZ`) until SIGUSR1 stops the
newcomers and SIGTERM makes all hang up. Each line it writes is JSON: {"calls": n, "cut": n,
"failed": n, "stalls": n} whenever one of the figures has changed, {"over": true} at the end.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack, suppress

from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.source import Tone

NEW_CALL_SECONDS = 1.0
LOOK_SECONDS = 0.2


class Crowd:
    """The callers of one run."""

    def __init__(self, opened: AsyncExitStack, pacer: Pacer, edge: str, hz: int) -> None:
        self.callers: list[CarrierCaller] = []
        self.failed = 0
        self._opened = opened
        self._pacer = pacer
        self._edge = edge
        self._hz = hz

    async def one_more(self) -> None:
        caller = await self._opened.enter_async_context(open_caller(pacer=self._pacer))
        number = f"+1415555{len(self.callers):04}"
        try:
            await caller.dial(f"sip:{number}@{self._edge}", Tone(self._hz))
        except SimError:
            self.failed += 1
        else:
            self.callers.append(caller)

    async def grow(self) -> None:
        while True:
            await asyncio.sleep(NEW_CALL_SECONDS)
            await self.one_more()

    async def tell(self) -> None:
        told = ""
        while True:
            line = json.dumps(self.figures())
            if line != told:
                told = line
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            await asyncio.sleep(LOOK_SECONDS)

    def figures(self) -> dict[str, int]:
        cut = sum(caller.ended.is_set() for caller in self.callers)
        stalls = self._pacer.stalls
        return {
            "calls": len(self.callers),
            "cut": cut,
            "failed": self.failed,
            "stalls": stalls,
        }


async def run(edge: str, calls: int, hz: int) -> None:
    loop = asyncio.get_running_loop()
    enough, over = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, enough.set)
    loop.add_signal_handler(signal.SIGTERM, over.set)
    async with AsyncExitStack() as opened:
        pacer = opened.enter_context(open_pacer())
        crowd = Crowd(opened, pacer, edge, hz)
        for _ in range(calls):
            await crowd.one_more()
        telling, growing = (asyncio.create_task(one) for one in (crowd.tell(), crowd.grow()))
        await enough.wait()
        growing.cancel()
        await over.wait()
        telling.cancel()
        for task in (telling, growing):
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(caller.hang_up() for caller in crowd.callers))
    sys.stdout.write(json.dumps({"over": True}) + "\n")


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
