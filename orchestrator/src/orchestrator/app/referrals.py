"""A hosted bot's REFER becomes a handoff: to whom it says, or to whom the routes say."""

from __future__ import annotations

import secrets
from dataclasses import replace

import structlog

from orchestrator.ari.pbx import AriPbx
from orchestrator.ari.transfers import Progress
from orchestrator.errors import PeerError
from orchestrator.fleet.calls import Calls
from orchestrator.handoff.refusals import InProgress
from orchestrator.handoff.registry import Registry
from orchestrator.model import CallId, Escalation, Handoff, Outcome, Phase, Queue, SipUri, Target

log = structlog.stdlib.get_logger(__name__)

_TAKEN = {Phase.CONNECTED, Phase.QUEUED}
_OVER = {Phase.FAILED, Phase.RETURNED, Phase.CANCELLED}


class Referrals:
    """Of this node's hosted bots."""

    def __init__(self, calls: Calls, pbx: AriPbx, handoffs: Registry) -> None:
        self._calls = calls
        self._pbx = pbx
        self._handoffs = handoffs
        self._transfers = pbx.transfers

    def asked(self, channel_id: str, destination: str) -> None:
        """`destination`: of Refer-To, a SIP URI or its user part."""
        self._calls.spawn(self._take(channel_id, destination))

    def caller_gone(self, call_id: str) -> None:
        """Hung up."""
        if (bot := self._pbx.talkback_channel(call_id)) is not None:
            self._transfers.abandon(bot)

    async def _take(self, channel_id: str, destination: str) -> None:
        if not await self._transfers.begin(channel_id):
            return
        call_id = self._pbx.hosted_call(channel_id)
        if call_id is None:
            log.warning("a REFER of a channel that is no bot", channel=channel_id)
            await self._transfers.end(channel_id, Progress.UNAVAILABLE)
            return
        asked = Escalation(
            request_id=f"refer:{channel_id}:{secrets.token_hex(4)}",  # each REFER is one of its own
            call_id=CallId(call_id),
            reason="REFER",
            target=target_of(destination),
            intent=destination,
        )
        try:
            handoff = await self._escalate(asked)
        except PeerError as error:
            log.warning("a bot's REFER is refused", call_id=call_id, error=str(error))
            await self._transfers.end(channel_id, Progress.DECLINED)
            return
        await self._follow(channel_id, handoff)

    async def _escalate(self, asked: Escalation) -> Handoff:
        """To whom it says; where the routes do not let it, to whom they say by its intent."""
        try:
            return await self._handoffs.escalate(asked)
        except InProgress:
            raise
        except PeerError as error:
            # Its text names the target, which may be a phone number.
            log.info("a bot's REFER goes by the routes", why=type(error).__name__)
            by_rules = replace(asked, request_id=f"{asked.request_id}:rules", target=None)
            return await self._handoffs.escalate(by_rules)

    async def _follow(self, channel_id: str, handoff: Handoff) -> None:
        async for now in self._handoffs.follow(handoff.handoff_id, 0, handoff.tenant):
            if now.phase in _TAKEN:
                await self._transfers.end(channel_id, Progress.ANSWERED)
            elif now.phase in _OVER:
                declined = now.outcome is Outcome.DECLINED
                result = Progress.DECLINED if declined else Progress.UNAVAILABLE
                await self._transfers.end(channel_id, result)


def target_of(destination: str) -> Target | None:
    """A user part names a queue; a whole URI is somebody outside. None = by the routes."""
    if destination.startswith(("sip:", "sips:")):
        return SipUri(destination)
    return Queue(destination) if destination else None
