"""The callers of an AMI node as the node itself lists them: what a successor needs to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.ari.ami import AmiClient
from orchestrator.ari.ami_wire import AmiMessage

_CALL, _TENANT, _DIRECTION = "VOICEFORK_CALL", "VOICEFORK_TENANT", "VOICEFORK_DIRECTION"
_CALLER, _BOT, _HANDOFF = "VOICEFORK_CALLER", "VOICEFORK_HOSTED", "VOICEFORK_HANDOFF"
_STATUS, _CAUSE = "QUEUESTATUS", "HANGUPCAUSE"
_ASKED = (_CALL, _TENANT, _DIRECTION, _CALLER, _BOT, _HANDOFF, _STATUS, _CAUSE)
_HOSTED_CONTEXT = "voicefork-hosted"
_ENDED_CONTEXT, _OVER_CONTEXT = "voicefork-queue-ended", "voicefork-queue-over"
_AFTER_TELLING = "MusicOnHold"
_NOT_SET = "(null)"


@dataclass(frozen=True, slots=True)
class QueueEnd:
    """A queue, the menu, or Dial() has given the caller up, who hears music, or the dialplan's end.

    `queue`: its name, or of whom Dial() called; empty where the dialplan no longer knows.
    """

    queue: str
    status: str
    cause: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A caller's channel. `handoff` is set once a handoff has sent them into the dialplan."""

    channel: str
    call: str
    tenant: str
    direction: str
    bot: str
    handoff: str
    context: str
    bridged: bool
    extension: str = ""
    application: str = ""
    status: str = ""
    cause: str = ""

    @property
    def is_with_bot(self) -> bool:
        return self.context == _HOSTED_CONTEXT and self.bridged

    @property
    def is_merged(self) -> bool:
        """With somebody, whom the dialplan's queue has found."""
        return bool(self.handoff) and self.context != _HOSTED_CONTEXT and self.bridged

    @property
    def ended(self) -> QueueEnd | None:
        """What the dialplan has told of this already, by where it is now."""
        told = self.context == _ENDED_CONTEXT and self.application == _AFTER_TELLING
        if self.bridged or not self.handoff or not (told or self.context == _OVER_CONTEXT):
            return None
        queue = self.extension if told else ""
        cause = int(self.cause) if self.cause.isascii() and self.cause.isdigit() else None
        return QueueEnd(queue, self.status, cause)


async def listed(client: AmiClient) -> Sequence[Listed]:
    """All callers of hosted bots, with the bot or after it. Raises PbxError."""
    rows = await client.listed("Status", {"Variables": ",".join(_ASKED)})
    found = (caller_of(row) for row in rows)
    return [caller for caller in found if caller is not None]


def caller_of(row: AmiMessage) -> Listed | None:
    """One row of Status; None: a bot's, an agent's, or nobody's of ours."""
    known = dict(text.split("=", 1) for text in row.all("Variable") if "=" in text)
    told = {name: "" if value == _NOT_SET else value for name, value in known.items()}
    channel = row.get("Uniqueid")
    if not channel or told.get(_CALLER) != channel or not told.get(_CALL):
        return None  # legs inherit the caller's variables
    return Listed(
        channel=channel,
        call=told[_CALL],
        tenant=told.get(_TENANT, ""),
        direction=told.get(_DIRECTION, ""),
        bot=told.get(_BOT, ""),
        handoff=told.get(_HANDOFF, ""),
        context=row.get("Context"),
        bridged=bool(row.get("BridgeID")),
        extension=row.get("Exten"),
        application=row.get("Application"),
        status=told.get(_STATUS, ""),
        cause=told.get(_CAUSE, ""),
    )
