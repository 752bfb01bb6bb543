"""A REFER that a bot made, answered: what its NOTIFYs say is what we say here (Asterisk 22.3)."""

from __future__ import annotations

from enum import Enum

import structlog

from orchestrator.ari.client import AriClient
from orchestrator.errors import PbxError

log = structlog.stdlib.get_logger(__name__)

FIXED = (22, 11)
"""Before, a REFER with `Refer-Sub: false` ends Asterisk (issue 2021) where ari-only is set."""


class Progress(Enum):
    """Values of POST /channels/{id}/transfer_progress?states=."""

    TRYING = "channel_progress"
    ANSWERED = "channel_answered"
    UNAVAILABLE = "channel_unavailable"
    DECLINED = "channel_declined"


class AriTransfers:
    """The transfers that are under way, by the channel that asked."""

    def __init__(self, client: AriClient) -> None:
        self._client = client
        self._pending: dict[str, Progress] = {}  # by channel: what it hears if it is hung up now

    async def begin(self, channel_id: str) -> bool:
        """False: the channel waits for an answer already."""
        if channel_id in self._pending:
            return False
        self._pending[channel_id] = Progress.ANSWERED
        await self._tell(channel_id, Progress.TRYING)
        return True

    async def end(self, channel_id: str, progress: Progress) -> None:
        """What came of it; once."""
        if self._pending.pop(channel_id, None) is not None:
            await self._tell(channel_id, progress)

    async def close(self, channel_id: str) -> None:
        """Before the channel is hung up, as others have the caller now: it hears of its success."""
        if (result := self._pending.pop(channel_id, None)) is not None:
            await self._tell(channel_id, result)

    def abandon(self, channel_id: str) -> None:
        """The caller is gone: nobody will have them."""
        if channel_id in self._pending:
            self._pending[channel_id] = Progress.UNAVAILABLE

    async def _tell(self, channel_id: str, progress: Progress) -> None:
        try:
            await self._client.transfer_progress(channel_id, progress.value)
        except PbxError as error:
            log.info("transfer is not told of", channel=channel_id, error=str(error))


def ari_only_is_safe(version: str) -> bool:
    """Whether this Asterisk ("22.10.1+dfsg...") survives every REFER on an ari-only channel."""
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    digits = "".join(c for c in minor if c.isdigit())
    return major.isdigit() and digits != "" and (int(major), int(digits)) >= FIXED
