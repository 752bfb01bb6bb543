"""A pool of real worker processes, a counting AI, and live forks whose every sample is known."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import grpc
import numpy as np
from redis.asyncio import Redis as RedisClient
from siprec_worker.net.pool import Pool
from voicefork.worker.v1.worker_pb2_grpc import WorkerControlStub
from voicefork_cli.lab.ours import Service, WorkerPlan, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.redis import Redis, open_redis
from voicefork_cli.lab.rtpengine import Rtpengine
from voicefork_cli.sim.edge_call import new_call_id
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.fork_media import ForkMedia, NgForkMedia, RelayedCall, open_direct_media
from voicefork_cli.sim.ng import Exchange, open_ng
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rs_metadata import RecordedCall, marked_party
from voicefork_cli.sim.rtp_port import open_rtp_port
from voicefork_cli.sim.sdp import audio_lines, phone_sdp
from voicefork_cli.sim.source import Tone
from voicefork_cli.sim.src import ForkState, SiprecClient, SrcSettings
from voicefork_sdk.call import Call
from voicefork_sdk.events import Audio, Close, Gap
from voicefork_sdk.model import GapCause
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.server import AgentServer

if TYPE_CHECKING:
    from voicefork.worker.v1.worker_pb2_grpc import WorkerControlAsyncStub

RATE = 8000
TONE_HZ = 437  # no whole number of periods in 20 ms: a slip of a packet is seen in the phase
PHASE_SLIP = 0.35  # radians; a sample is 0.34
WAIT_SECONDS = 20.0


@dataclass
class Heard:
    """What the AI has of one call: audio of the first leg, in the order it came."""

    pieces: list[tuple[float, int, bytes]] = field(default_factory=list)  # wall, pts, PCM
    gaps: list[Gap] = field(default_factory=list)
    told: list[object] = field(default_factory=list)  # every other event
    closed: Close | None = None

    @property
    def last_wall(self) -> float:
        return self.pieces[-1][0] if self.pieces else 0.0

    def first_after(self, wall: float) -> float | None:
        """When the first audio came that was spoken after `wall` plus a tick or two."""
        return next((at for at, _, _ in self.pieces if at > wall), None)

    def missing(self) -> int:
        """Samples between the first and the last that the AI never got."""
        return self._missing([])

    def untold(self) -> int:
        """Samples that it never got and that no gap tells of."""
        return self._missing([(gap.from_pts, gap.to_pts) for gap in self.gaps])

    def _missing(self, known: list[tuple[int, int]]) -> int:
        spans = sorted([*known, *((pts, pts + len(pcm) // 2) for _, pts, pcm in self.pieces)])
        missing, reached = 0, spans[0][0] if spans else 0
        for begin, end in spans:
            missing += max(0, begin - reached)
            reached = max(reached, end)
        return missing

    def slips(self, hz: float = TONE_HZ) -> int:
        """Places where the tone's phase jumps between one piece and the next."""
        phases = [_phase(pcm, pts, hz) for _, pts, pcm in self.pieces]
        turned = (abs((b - a + np.pi) % (2 * np.pi) - np.pi) for a, b in pairwise(phases))
        return sum(turn > PHASE_SLIP for turn in turned)

    def wrong(self) -> str:
        """Empty: every sample is there, at its place, and no gap was told."""
        missing, slips = self.missing(), self.slips()
        gaps = [f"{g.cause.name} {g.from_pts}-{g.to_pts} ({g.packets})" for g in self.gaps]
        return f"{missing} missing, {slips} slips, {gaps}" if missing or slips or gaps else ""

    def switched(self) -> list[Gap]:
        return [gap for gap in self.gaps if gap.cause is GapCause.SOURCE_SWITCH]


def _phase(pcm: bytes, pts: int, hz: float) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    places = np.arange(pts, pts + len(samples))
    return float(np.angle(np.sum(samples * np.exp(-2j * np.pi * hz * places / RATE))))


class CountingAgent:
    """An AI made with the SDK that keeps all it hears, by call id."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}
        self.begun = 0  # conversations, not streams: a call that is resumed begins once

    def broken(self) -> dict[str, str]:
        """What is wrong with each call that was not heard without a break."""
        return {call_id: wrong for call_id, one in self.heard.items() if (wrong := one.wrong())}

    async def on_call(self, call: Call) -> None:
        self.begun += 1
        heard = self.heard.setdefault(call.opening.call_id, Heard())
        async for event in call.events():
            match event:
                case Audio(pts, legs) if legs:
                    heard.pieces.append((time.time(), pts, legs[0].payload))
                case Gap():
                    heard.gaps.append(event)
                case Close():
                    heard.closed = event
                case _:
                    heard.told.append(event)


@dataclass
class Fork:
    """One live fork and its recording client."""

    call_id: str
    client: SiprecClient


@dataclass
class Pooled:
    """Workers, their Redis and their AI."""

    lab: Lab
    redis: Redis
    client: RedisClient
    pool: Pool
    agent: CountingAgent
    agent_url: str
    endpoint: SipEndpoint
    pacer: Pacer
    stack: AsyncExitStack
    workers: dict[str, Service] = field(default_factory=dict)
    forks: list[Fork] = field(default_factory=list)

    async def add_worker(self, name: str, *options: str) -> Service:
        plan = WorkerPlan(
            self.agent_url,
            self.redis.url,
            name=name,
            options=("--dial", "fork", "--drain-seconds", "10", *options),
        )
        service = await self.stack.enter_async_context(open_worker(self.lab, plan))
        self.workers[name] = service
        return service

    async def add_workers(self, *names: str, options: Sequence[str] = ()) -> None:
        """All at once."""
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self.add_worker(name, *options))

    def uri(self, name: str) -> str:
        return f"sip:{self.workers[name].addresses['sip']};transport=tcp"

    async def owner(self, sip_call_id: str) -> str | None:
        """What OpenSIPS' local_route asks for every request of its own."""
        found: bytes = await self.pool.call("vf_owner", sip_call_id)
        return found.decode() or None

    async def begin(
        self, uris: Sequence[str], media: ForkMedia | None = None, **settings: object
    ) -> Fork:
        """A fork that records; its audio is a tone on the customer's leg and one on the PBX's."""
        call_id = new_call_id()
        call = RecordedCall(
            f"{secrets.token_hex(6)}@carrier",
            marked_party("sip:+14155550100@carrier", "Caller", "customer"),
            marked_party("sip:+14155550199@carrier", "", "pbx"),
        )
        if media is None:
            tones = Tone(TONE_HZ), Tone(TONE_HZ * 3 // 2)
            media = self.stack.enter_context(open_direct_media(self.pacer, *tones))
        src = SrcSettings(**{"owner": self.owner, **settings})  # type: ignore[arg-type]
        client = SiprecClient(self.endpoint, media, call, src)
        headers = [("X-Voicefork-Call", call_id), ("X-Voicefork-Direction", "in")]
        state = await client.start(uris, headers)
        if state is not ForkState.RECORDING:
            raise AssertionError(f"{state}: {client.reason}")
        fork = Fork(call_id, client)
        self.forks.append(fork)
        return fork

    async def pick(self) -> list[str]:
        answer: bytes = await self.pool.call("vf_pick", 3, "-", new_call_id())
        return answer.decode().split(",")

    async def stored(self, count: int) -> None:
        """Until that many forks are in Redis, with the AI's resume token."""

        async def there() -> bool:
            sizes = [
                await self.client.scard(f"voicefork:pool:forks:{name}") for name in self.workers
            ]
            return bool(sum(sizes) >= count)

        await until(there)
        await asyncio.sleep(0.3)  # the AI has opened meanwhile, and that is stored, too

    async def listening(self) -> None:
        """Until the AI hears every fork."""

        async def all_heard() -> bool:
            return all(
                len(self.agent.heard.get(fork.call_id, Heard()).pieces) > 20 for fork in self.forks
            )

        await until(all_heard)

    async def owners(self) -> set[str | None]:
        return {await self.owner(fork.client.call_id) for fork in self.forks}

    def control(self, name: str) -> WorkerControlAsyncStub:
        """The worker's control service, as the orchestrator and other workers have it."""
        channel = grpc.aio.insecure_channel(self.workers[name].addresses["control"])
        self.stack.push_async_callback(channel.close)
        return WorkerControlStub(channel)

    def kill(self, name: str) -> float:
        """kill -9; gives the moment."""
        self.workers.pop(name).program.signal(signal.SIGKILL)
        return time.time()

    async def stop(self) -> None:
        await asyncio.gather(*(fork.client.stop() for fork in self.forks))
        self.forks.clear()


@asynccontextmanager
async def relayed_media(rtpengine: Rtpengine, pacer: Pacer) -> AsyncIterator[NgForkMedia]:
    """A call of two parties through a real rtpengine, which copies both legs to the fork."""
    call = RelayedCall(secrets.token_hex(6), "caller", "callee")
    with open_rtp_port(pacer, keep=False) as caller, open_rtp_port(pacer, keep=False) as callee:
        async with open_ng((rtpengine.host, rtpengine.port)) as ng:
            offer = Exchange(call.call_id, call.caller_tag, "", "127.0.0.1")
            to_callee = await ng.offer(offer, phone_sdp(caller.address, "PCMU"))
            answer = replace(offer, to_tag=call.callee_tag)
            to_caller = await ng.answer(answer, phone_sdp(callee.address, "PCMU"))
            callee.remote = audio_lines(to_callee)[0].address
            caller.remote = audio_lines(to_caller)[0].address
            caller.play(Tone(TONE_HZ))
            callee.play(Tone(TONE_HZ * 3 // 2))
            yield NgForkMedia(ng, call, allow_transcoding=True)
            await ng.delete(call.call_id)


async def until(check: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Waits for an `async` check to be true."""
    async with asyncio.timeout(seconds):
        while True:
            found = check()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_pooled(lab: Lab, *workers: str, **options: object) -> AsyncIterator[Pooled]:
    """A Redis, a counting AI and these workers; `options` are the AI's (AgentOptions)."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_redis(lab))
        client: RedisClient = RedisClient.from_url(server.url, protocol=2)
        stack.push_async_callback(client.aclose)
        agent = CountingAgent()
        # It shares its process with the senders: its own stalls are not what is looked at.
        agent_options = AgentOptions(**{"inbox_ms": 10_000, **options})  # type: ignore[arg-type]
        vendor = await stack.enter_async_context(AgentServer(agent.on_call, options=agent_options))
        pacer = stack.enter_context(open_pacer())
        endpoint = await stack.enter_async_context(open_sip())
        programs = await stack.enter_async_context(AsyncExitStack())
        pooled = Pooled(
            lab,
            server,
            client,
            Pool(client, 2.0),
            agent,
            f"grpc://{vendor.address}",
            endpoint,
            pacer,
            programs,
        )
        await pooled.add_workers(*workers)
        try:
            yield pooled
        finally:
            await pooled.stop()
