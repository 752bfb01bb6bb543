"""Many forks at once against one worker: our own RTP for both legs, no PBX, no rtpengine."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from voicefork_cli.sim.edge_call import new_call_id
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.fork_media import DirectMedia, open_direct_media
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rs_metadata import RecordedCall, marked_party
from voicefork_cli.sim.source import Tone
from voicefork_cli.sim.src import ForkState, SiprecClient, SrcSettings


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """`calls` in all, begun `rate` a second, each `seconds` long."""

    worker: str  # sip:127.0.0.1:5080, with ;transport=tcp where wanted
    calls: int = 1
    rate: float = 10.0
    seconds: float = 10.0
    tone_hz: int = 440  # of the caller's leg; the PBX's is half as high again
    codec: str = "PCMU"
    host: str = "127.0.0.1"
    tenant: str = ""
    did: str = "+14155550199"


@dataclass(slots=True)
class LoadProgress:
    """Figures that grow while the load runs; read them at any time."""

    states: Counter[ForkState] = field(default_factory=Counter)
    running: int = 0
    begun: int = 0
    packets: int = 0  # of calls that have ended
    unsent: int = 0  # packets the system did not take
    stalls: int = 0  # packets that were sent more than 200 ms late
    media: set[DirectMedia] = field(default_factory=set)  # of the calls that run
    setup_ms: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def setup_quantile_ms(self, q: float) -> float:
        """Of INVITE to ACK; 0 where nothing was answered."""
        return float(np.quantile(self.setup_ms, q)) if self.setup_ms else 0.0

    @property
    def sent(self) -> int:
        """RTP packets until now."""
        live = sum(port.sent for media in self.media for port in (media.caller, media.callee))
        return self.packets + live

    @property
    def failed(self) -> int:
        return sum(self.reasons.values())

    def count(self, media: DirectMedia) -> None:
        """Of a call that has ended, and whose ports are closed: none of them is sending still."""
        self.media.discard(media)
        for port in (media.caller, media.callee):
            self.packets += port.sent
            self.unsent += port.dropped


async def run_load(plan: LoadPlan, progress: LoadProgress) -> None:
    """Runs the whole plan; `progress` is filled while it goes on. Failed calls are counted."""
    with open_pacer() as pacer:
        async with open_sip(plan.host) as endpoint, asyncio.TaskGroup() as calls:
            began = asyncio.get_running_loop().time()
            for number in range(plan.calls):
                due = began + number / plan.rate
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
                calls.create_task(_call(plan, progress, endpoint, pacer))
        progress.stalls = pacer.stalls


async def _call(
    plan: LoadPlan, progress: LoadProgress, endpoint: SipEndpoint, pacer: Pacer
) -> None:
    legs = Tone(plan.tone_hz), Tone(plan.tone_hz * 3 // 2)
    progress.begun += 1
    progress.running += 1
    media: DirectMedia | None = None
    try:
        with open_direct_media(pacer, *legs, host=plan.host, codec=plan.codec) as media:
            progress.media.add(media)
            await _recorded(plan, progress, endpoint, media)
    except SimError as error:
        progress.reasons[str(error)] += 1
    finally:
        progress.running -= 1
        if media is not None:
            progress.count(media)


async def _recorded(
    plan: LoadPlan, progress: LoadProgress, endpoint: SipEndpoint, media: DirectMedia
) -> None:
    loop = asyncio.get_running_loop()
    call = RecordedCall(
        f"{secrets.token_hex(8)}@{plan.host}",
        marked_party(f"sip:+14155550100@{plan.host}", "Load Caller", "customer"),
        marked_party(f"sip:+14155550199@{plan.host}", "", "pbx"),
        plan.tenant,
    )
    headers = {
        "X-Voicefork-Call": new_call_id(),
        "X-Voicefork-Direction": "in",
        "X-Voicefork-Tenant": plan.tenant,
        "X-Voicefork-DID": plan.did,
    }
    client = SiprecClient(endpoint, media, call, SrcSettings(no_answer_seconds=5.0))
    began = loop.time()
    try:
        state = await client.start([plan.worker], [(k, v) for k, v in headers.items() if v])
        progress.states[state] += 1
        if state is not ForkState.RECORDING:
            progress.reasons[client.reason or state.value] += 1
            return
        progress.setup_ms.append((loop.time() - began) * 1000)
        await asyncio.sleep(plan.seconds)
    finally:
        await client.stop()
