"""An agent that hands every caller to a human, and speaks to that human alone.

As a route's primary it briefs whoever answers before the caller is joined, in its own voice; as its
assist it has a word for them afterwards. Sounds are raw: 8 kHz, 16 bits, low byte first.

python briefer.py --briefing account-4092.raw --advice refund.raw --listen 127.0.0.1:7000
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path

from voicefork.handoff.v1 import handoff_pb2
from voicefork_sdk.call import Call
from voicefork_sdk.events import CallState
from voicefork_sdk.model import PCM_8K, CallStatus, Phase, Role
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import serve

OPTIONS = AgentOptions(name="briefer", uplink=(PCM_8K,), downlink=(PCM_8K,))
WISH = handoff_pb2.EscalateRequest(
    pattern=handoff_pb2.PATTERN_WARM_WHISPER,
    context=handoff_pb2.Context(
        summary="Account 4092 disputes a charge.",
        briefing_spoken=True,  # wait for my voice
        briefing_text="Account 4092 disputes a charge.",  # should I stay silent
    ),
)


async def on_call(call: Call, briefing: bytes, advice: bytes) -> None:
    async for event in call.events():
        match event:
            case CallState(CallStatus.ANSWERED) if call.opening.role is Role.PRIMARY:
                call.spawn(hand_over(call, briefing))
            case CallState(CallStatus.ANSWERED) if call.opening.role is Role.ASSIST:
                await call.tell_agent("advice", advice)


async def hand_over(call: Call, briefing: bytes) -> None:
    """Once a human has answered they hear `briefing`; the caller hears music and none of it."""
    escalation = await call.escalate(reason="every caller", intent="human", request=WISH)
    async for update in escalation.updates():
        if update.phase is Phase.ANSWERED:
            await call.tell_agent(f"briefing-{update.revision}", briefing)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--briefing", type=Path, required=True, metavar="FILE")
    arguments.add_argument("--advice", type=Path, required=True, metavar="FILE")
    arguments.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    given = arguments.parse_args()
    sounds = {"briefing": given.briefing.read_bytes(), "advice": given.advice.read_bytes()}
    asyncio.run(serve(partial(on_call, **sounds), given.listen, options=OPTIONS, on_ready=tell))


def tell(address: str) -> None:
    sys.stdout.write(f"ready agent={address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
