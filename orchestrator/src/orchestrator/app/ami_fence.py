"""Who drives an AMI node, as is written in the node itself: for those who cannot ask Redis."""

from __future__ import annotations

from orchestrator.ari.ami import AmiClient
from orchestrator.errors import PbxError

FENCE = "VOICEFORK_FENCE"
"""A global variable of its dialplan, which nothing there reads: fence of fleet.guard.Guard."""


async def written_fence(client: AmiClient) -> int | None:
    """0: none. None: the node does not say, and can be told nothing either."""
    try:
        text = (await client.action("Getvar", {"Variable": FENCE})).get("Value")
    except PbxError:
        return None
    return int(text) if text.isascii() and text.isdigit() else 0


async def write_fence(client: AmiClient, fence: int) -> None:
    """Raises PbxError."""
    await client.action("Setvar", {"Variable": FENCE, "Value": str(fence)})
