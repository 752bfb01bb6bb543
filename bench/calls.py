"""Calls for a worker under load: SIPREC as OpenSIPS asks it, RTP from the C generator."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import grpc
from voicefork.agent.v1 import agent_pb2
from voicefork.worker.v1 import worker_pb2, worker_pb2_grpc
from voicefork_cli.lab.ours import Service
from voicefork_cli.sim.edge_call import new_call_id
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.errors import SimError
from voicefork_cli.sim.fork_media import ForkOffer
from voicefork_cli.sim.rs_metadata import (
    CALLEE,
    CALLER,
    LabelledStream,
    RecordedCall,
    marked_party,
)
from voicefork_cli.sim.sdp import TELEPHONE_EVENT, AudioLine, audio_lines, fork_sdp
from voicefork_cli.sim.src import ForkState, SiprecClient, SrcSettings

from bench.tools import Tool

HOST = "127.0.0.1"
LEGS = 2
CONTROL_SECONDS = 10.0
TRY_AGAIN_SECONDS = 1.0


class LoadMedia:
    """A fork whose legs are two streams of the load generator."""

    def __init__(self, load: Tool, first_stream: int, ports: tuple[int, int]) -> None:
        self._load = load
        self._first = first_stream
        self._lines = [
            AudioLine(
                HOST,
                port,
                (0, TELEPHONE_EVENT),
                ("PCMU/8000", "telephone-event/8000"),
                "sendonly",
                label,
            )
            for port, label in zip(ports, ("1", "0"), strict=True)
        ]

    async def offer(self) -> ForkOffer:
        streams = (LabelledStream(CALLER, "1"), LabelledStream(CALLEE, "0"))
        return ForkOffer(fork_sdp(self._lines, secrets.randbits(62)), streams)

    async def answered(self, sdp: bytes) -> None:
        for stream, line in enumerate(audio_lines(sdp), self._first):
            self._load.tell(f"to {stream} {line.port}")

    async def stop(self) -> None:
        """The generator is told, not the stream: the whole load stops at once."""


@dataclass(slots=True)
class Calls:
    """Forks of one worker. `rate` a second are begun."""

    worker: str  # host:port of SIP
    endpoint: SipEndpoint
    rate: float = 100.0
    tries: int = 1  # of a call that is answered 503
    clients: dict[str, SiprecClient] = field(default_factory=dict)  # by call id
    failed: list[str] = field(default_factory=list)

    async def begin(self, media: list[LoadMedia]) -> list[str]:
        """One call each; gives the ids of those that record."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as tasks:
            started = []
            for number, each in enumerate(media):
                await asyncio.sleep(max(0.0, began + number / self.rate - loop.time()))
                started.append(tasks.create_task(self.start(each)))
        return [call_id for task in started if (call_id := task.result())]

    async def start(self, media: LoadMedia) -> str:
        """One call; "" when it failed."""
        for number in range(1, self.tries + 1):
            call_id = await self._try(media)
            if call_id or number == self.tries or "503" not in self.failed[-1]:
                break
            self.failed.pop()
            await asyncio.sleep(TRY_AGAIN_SECONDS)
        return call_id

    async def _try(self, media: LoadMedia) -> str:
        call_id = new_call_id()
        call = RecordedCall(
            f"{secrets.token_hex(8)}@{HOST}",
            marked_party(f"sip:+14155550100@{HOST}", "Load Caller", "customer"),
            marked_party(f"sip:+14155550199@{HOST}", "", "pbx"),
            "",
        )
        settings = SrcSettings(no_answer_seconds=5.0)
        client = SiprecClient(self.endpoint, media, call, settings)
        headers = [("X-Voicefork-Call", call_id), ("X-Voicefork-Direction", "in")]
        try:
            state = await client.start([f"sip:{self.worker};transport=tcp"], headers)
        except SimError as error:
            self.failed.append(str(error))
            return ""
        if state is not ForkState.RECORDING:
            self.failed.append(client.reason or state.value)
            return ""
        self.clients[call_id] = client
        return call_id

    async def end(self, call_id: str) -> None:
        await self.clients.pop(call_id).stop()


@asynccontextmanager
async def open_calls(worker: str, rate: float, tries: int) -> AsyncIterator[Calls]:
    """The calls end with the worker that the caller ends: without a thousand BYEs."""
    async with open_sip(HOST) as endpoint:
        yield Calls(worker, endpoint, rate, tries)


async def attach_voices(
    service: Service, call_ids: list[str], ports: list[int], load: Tool
) -> None:
    """Gives every call its talk-back, as the orchestrator does, and the PBX's RTP in return.

    `ports[i]` is the load's port for call i; its stream comes behind all legs.
    """
    first = LEGS * len(call_ids)
    async with (
        grpc.aio.insecure_channel(service.addresses["control"]) as channel,
        aiohttp.ClientSession(f"http://{service.addresses['admin']}") as admin,
    ):
        stub = worker_pb2_grpc.WorkerControlStub(channel)
        for number, (call_id, port) in enumerate(zip(call_ids, ports, strict=True)):
            await stub.AttachTalkback(
                worker_pb2.AttachTalkbackRequest(
                    call_id=call_id,
                    remote=worker_pb2.RtpAddress(host=HOST, port=port),
                    codec=worker_pb2.TALKBACK_CODEC_PCMU,
                    call_state=agent_pb2.CallState.STATE_ANSWERED,
                ),
                timeout=CONTROL_SECONDS,
            )
            async with admin.get(f"/calls/{call_id}") as answer:
                _, voice_port = (await answer.json())["talkback"]["address"]
            load.tell(f"to {first + number} {voice_port}")
