"""What the agent says of the handoff afterwards, and what the orchestrator counts of it."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import grpc
from voicefork.handoff.v1 import handoff_pb2, handoff_pb2_grpc

from voicefork_cli.demo.cast import Cast

REPORTED = "voicefork_handoff_reported_total"
REPEATED = "voicefork_handoff_repeated_total"
DISPOSITION = "dispute taken up"


async def report_outcome(
    cast: Cast, handoff: handoff_pb2.Handoff, *, taken: bool, shown: bool
) -> tuple[int, int]:
    """Reports in the agent's place: a story that was on the screen need not be told again.

    Returns (reported, repeated) by the orchestrator's metrics. Nothing is said of a caller whom no
    human has taken. Raises grpc.aio.AioRpcError.
    """
    addresses = cast.stack.orchestrator.addresses
    if taken:
        async with grpc.aio.insecure_channel(addresses["grpc"]) as channel:
            answer: Any = handoff_pb2_grpc.HandoffServiceStub(channel).ReportOutcome(
                handoff_pb2.ReportOutcomeRequest(
                    handoff_id=handoff.handoff_id,
                    repeated_information=not shown,
                    disposition=DISPOSITION,
                    agent="agent-1",
                )
            )
            await answer
    url = f"http://{addresses['admin']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    return _count(text, REPORTED), _count(text, REPEATED)


def _count(metrics: str, name: str) -> int:
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", metrics, re.M)
    return round(sum(map(float, found)))
