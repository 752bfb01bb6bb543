"""Who is asked to hand a call over, and how each pattern is asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import aiohttp
import grpc
from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2_grpc
from voicefork_cli.sim.errors import SimError

DESK = "sip:desk@example.com"
BRIEFING = "Escalating account 4092. Caller disputes a 150 dollar charge."
ACCEPT_KEY = "1"
KEYED = "keyed"  # the intent whose rule wants a key
FINAL_LOOKS, WITNESS_LOOKS, LOOK_SECONDS = 40, 20, 0.05
BOT_NUMBER, BARE_NUMBER, AMI_NUMBER = "+14155550100", "930", "922"


class Pattern(Enum):
    """What is measured."""

    ATTENDED = "ATTENDED"
    DIALPLAN = "DIALPLAN"
    WARM_WHISPER = "WARM_WHISPER"
    REFER = "REFER"
    AMI = "AMI node"  # DIALPLAN on a node that is driven by AMI alone
    BARE = "bare ARI"  # the steps of ATTENDED, by bench.bare_ari

    @property
    def number(self) -> str:
        """What the caller dials for it."""
        return {Pattern.BARE: BARE_NUMBER, Pattern.AMI: AMI_NUMBER}.get(self, BOT_NUMBER)


OURS = tuple(pattern for pattern in Pattern if pattern is not Pattern.BARE)
_ASKED = {
    Pattern.ATTENDED: pb.PATTERN_ATTENDED, Pattern.DIALPLAN: pb.PATTERN_DIALPLAN,
    Pattern.WARM_WHISPER: pb.PATTERN_WARM_WHISPER, Pattern.REFER: pb.PATTERN_REFER,
    Pattern.AMI: pb.PATTERN_DIALPLAN,
}  # fmt: skip
_ENDS = {
    Pattern.ATTENDED: pb.PHASE_CONNECTED, Pattern.DIALPLAN: pb.PHASE_QUEUED,
    Pattern.WARM_WHISPER: pb.PHASE_CONNECTED, Pattern.REFER: pb.PHASE_CONNECTED,
    Pattern.AMI: pb.PHASE_CONNECTED,  # the queue's events tell who took the caller
}  # fmt: skip


class Way(Protocol):
    """Somebody who can hand a call over."""

    async def escalate(self, call_id: str, lane: int) -> None: ...

    async def merge_ms(self, call_id: str) -> float | None:
        """Agent accepted -> caller merged, None = not theirs to know.

        Raises SimError: it has not ended as it should.
        """

    async def witness_ms(self, call_id: str) -> float | None:
        """Dead air by the worker's count, once the call is over."""

    async def story(self, call_id: str) -> str:
        """How far it is, for a failure's report."""


def phone_of(lane: int) -> str:
    return f"PJSIP/agent-{lane}"


def queue_of(lane: int) -> str:
    """A queue whose only member is that phone."""
    return f"lane{lane}"


@dataclass(frozen=True, slots=True)
class ByVoicefork:
    """HandoffService, as an AI vendor asks it."""

    service: handoff_pb2_grpc.HandoffServiceStub
    pattern: Pattern

    async def escalate(self, call_id: str, lane: int) -> None:
        answer: Any = self.service.Escalate(request_for(self.pattern, call_id, lane))
        await answer

    async def merge_ms(self, call_id: str) -> float | None:
        for _ in range(FINAL_LOOKS):  # on a busy machine the caller may know before we are told
            handoff = await self._handoff(call_id)
            if handoff.phase == _ENDS[self.pattern]:
                break
            await asyncio.sleep(LOOK_SECONDS)
        else:
            raise SimError("not handed over")
        await self._report(handoff)
        return float(handoff.timing.merge_ms) if handoff.timing.HasField("merge_ms") else None

    async def witness_ms(self, call_id: str) -> float | None:
        for _ in range(WITNESS_LOOKS):
            timing = (await self._handoff(call_id)).timing
            if timing.HasField("dead_air_ms"):
                return float(timing.dead_air_ms)
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _report(self, handoff: pb.Handoff) -> None:
        """In the human's place: the story was there before the voice, or had to be told again."""
        if handoff.outcome != pb.OUTCOME_CONNECTED or not handoff.target.endpoint:
            return
        again = handoff.timing.context_lead_ms == 0
        answer: Any = self.service.ReportOutcome(
            pb.ReportOutcomeRequest(handoff_id=handoff.handoff_id, repeated_information=again)
        )
        await answer

    async def story(self, call_id: str) -> str:
        try:
            return _told(await self._handoff(call_id))
        except grpc.aio.AioRpcError as error:
            return f"no handoff: {error.code().name}"

    async def _handoff(self, call_id: str) -> pb.Handoff:
        answer: Any = self.service.GetHandoff(pb.GetHandoffRequest(call_id=call_id))
        handoff: pb.Handoff = (await answer).handoff
        return handoff


def request_for(pattern: Pattern, call_id: str, lane: int) -> pb.EscalateRequest:
    """As an AI would ask for it, with the story of a dispute."""
    match pattern:
        case Pattern.REFER:
            target = pb.Target(sip_uri=DESK)
        case Pattern.DIALPLAN | Pattern.AMI:
            target = pb.Target(queue=queue_of(lane))
        case _:
            target = pb.Target(endpoint=phone_of(lane))
    return pb.EscalateRequest(
        request_id="1",
        call_id=call_id,
        reason="billing",
        intent=KEYED if pattern is Pattern.WARM_WHISPER else "billing",
        pattern=_ASKED[pattern],
        target=target,
        context=pb.Context(summary="A charge of 150 dollars.", briefing_text=BRIEFING),
    )


def _told(handoff: pb.Handoff) -> str:
    phase = pb.Phase.Name(handoff.phase).removeprefix("PHASE_")
    outcome = pb.Outcome.Name(handoff.outcome).removeprefix("OUTCOME_")
    status = f", SIP {handoff.sip_status}" if handoff.sip_status else ""
    return f"the handoff is {phase} ({outcome}{status})"


@dataclass(frozen=True, slots=True)
class ByBareScript:
    """bench.bare_ari."""

    session: aiohttp.ClientSession
    address: str

    async def escalate(self, call_id: str, lane: int) -> None:
        asked = {"call": call_id, "endpoint": phone_of(lane)}
        async with self.session.post(f"http://{self.address}/handoff", params=asked) as answer:
            answer.raise_for_status()

    async def merge_ms(self, call_id: str) -> float | None:
        url = f"http://{self.address}/merge"
        async with self.session.get(url, params={"call": call_id}) as answer:
            found: float | None = (await answer.json())["merge_ms"]
            return found

    async def witness_ms(self, call_id: str) -> float | None:
        del call_id  # it has none
        return None

    async def story(self, call_id: str) -> str:
        return f"the script merged it within {await self.merge_ms(call_id)} ms"
