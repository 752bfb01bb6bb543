"""A caller in Queue(): what the dialplan knows about them."""

from __future__ import annotations

import re

from voicefork_cli.lab.asterisk import Asterisk

APPLICATION = 5  # the column of `core show channels concise`


async def waiting_caller(asterisk: Asterisk) -> dict[str, str]:
    """The VOICEFORK_ variables of the one channel that waits in a queue, without the prefix."""
    lines = (await asterisk.cli("core show channels concise")).splitlines()
    columns = [line.split("!") for line in lines]
    waiting = [row[0] for row in columns if len(row) > APPLICATION and row[APPLICATION] == "Queue"]
    if not waiting:
        return {}
    shown = await asterisk.cli(f"core show channel {waiting[0]}")
    return dict(re.findall(r"^ *VOICEFORK_(\w+)=(.*?)\s*$", shown, re.M))
