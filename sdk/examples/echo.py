"""An agent that says what it hears: the plainest example, and the probe for mouth-to-ear delay.

python echo.py --listen 127.0.0.1:7000
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from voicefork_sdk.call import Call
from voicefork_sdk.events import Audio
from voicefork_sdk.model import PCM_8K, Barge, LegKind
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import serve

# What is heard is said as it is: both directions in one format.
OPTIONS = AgentOptions(
    name="echo", uplink=(PCM_8K,), downlink=(PCM_8K,), legs=(LegKind.CUSTOMER,), features=()
)


async def on_call(call: Call) -> None:
    """One endless utterance: each chunk goes back the moment it comes."""
    async for event in call.events():
        if isinstance(event, Audio) and call.may_speak:
            heard = event.of(LegKind.CUSTOMER)
            await call.speak("echo", heard, last=False, barge=Barge.NOT_INTERRUPTIBLE)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    listen = arguments.parse_args().listen
    asyncio.run(serve(on_call, listen, options=OPTIONS, on_ready=tell))


def tell(address: str) -> None:
    sys.stdout.write(f"ready agent={address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
