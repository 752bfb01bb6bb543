"""A worker as an AI vendor meets it: dials VoiceAgent.Converse, streams a call, plays what comes.

A real grpc.aio client. It plays at the speed of real time (or faster, for tests), answers Clear,
Mark and HangUp, and keeps everything the agent said for the test to look at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import grpc
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.agent.v1 import agent_pb2_grpc
from voicefork.handoff.v1 import handoff_pb2

CUSTOMER, PBX = 1, 2
_WAIT_SECONDS = 20.0


def opening(  # noqa: PLR0913 - the fields a test may want otherwise
    *,
    role: pb.Role.ValueType = pb.ROLE_PRIMARY,
    encoding: pb.Encoding.ValueType = pb.ENCODING_PCM_S16LE,
    sample_rate: int = 8000,
    downlinks: Iterable[int] = (8000,),
    resume_token: str = "",
    limits: pb.Limits | None = None,
) -> pb.Open:
    """An Open as a worker sends it for an ordinary call."""
    return pb.Open(
        call_id="018f-call",
        session_id="session-1",
        tenant="bank",
        role=role,
        legs=[
            pb.Leg(handle=CUSTOMER, kind=pb.LEG_KIND_CUSTOMER, aor="sip:+4930@carrier"),
            pb.Leg(handle=PBX, kind=pb.LEG_KIND_PBX, aor="sip:100@pbx"),
        ],
        consent=pb.CONSENT_GRANTED,
        uplink=pb.Uplink(encoding=encoding, sample_rate=sample_rate, chunk_ms=20),
        downlink_choices=[
            pb.AudioFormat(encoding=pb.ENCODING_PCM_S16LE, sample_rate=rate) for rate in downlinks
        ],
        headers={"X-Account": "4092"},
        language_hint="en-US",
        resume=pb.Resume(token=resume_token) if resume_token else None,
        limits=limits or pb.Limits(max_unacked_ms=2000, replay_ms=5000, playout_buffer_ms=30_000),
        direction="in",
        route="main",
    )


class WorkerPeer:
    """One call towards an agent. Made by `dial`."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[pb.ConverseRequest, pb.ConverseResponse]
    ) -> None:
        self._call = call
        self._seq = 0
        self._pts = 0
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._chunk_ms = 20
        self._bytes_per_ms = 16
        self.received: list[pb.ConverseResponse] = []
        self.opened: pb.Opened | None = None
        self.is_over = False
        self.plays = True  # answers Speak with PlayState, as if played at once

    async def send(self, **message: object) -> None:
        """Sends one ConverseRequest: send(gap=pb.Gap(...))."""
        async with self._writing:  # grpc.aio takes one write at a time
            self._seq += 1
            await self._call.write(
                pb.ConverseRequest(seq=self._seq, **message)  # type: ignore[arg-type]
            )

    @property
    def sent_seq(self) -> int:
        return self._seq

    async def open(self, offer: pb.Open) -> pb.Opened:
        await self.send(open=offer)
        opened = (await self.expect("opened")).opened
        chosen = opened.uplink
        width = 2 if chosen.encoding == pb.ENCODING_PCM_S16LE else 1
        self._bytes_per_ms = chosen.sample_rate * width // 1000
        self._chunk_ms = chosen.chunk_ms
        self.opened = opened
        return opened

    async def answer(self) -> None:
        await self.send(call_state=pb.CallState(state=pb.CallState.STATE_ANSWERED))

    async def hear(self, audio: bytes, *, leg: int = CUSTOMER, pace: float = 0.0) -> None:
        """Sends audio of one leg in chunks; `pace` = seconds of clock per second of audio."""
        step = self._bytes_per_ms * self._chunk_ms
        width = 2 if self._bytes_per_ms * 1000 % 2 == 0 and self._bytes_per_ms >= 16 else 1
        for at in range(0, len(audio), step):
            chunk = audio[at : at + step]
            part = pb.LegAudio(handle=leg, data=chunk)
            await self.send(audio=pb.Audio(pts=self._pts, legs=[part]))
            self._pts += len(chunk) // width
            await asyncio.sleep(pace * self._chunk_ms / 1000)

    async def close(self, reason: pb.Close.Reason.ValueType = pb.Close.REASON_CALL_ENDED) -> None:
        await self.send(close=pb.Close(reason=reason))
        await self._call.done_writing()

    def break_off(self) -> None:
        """The stream dies without a word, as when a worker does."""
        self._call.cancel()

    async def code(self) -> grpc.StatusCode:
        """The status the agent ended the stream with."""
        async with asyncio.timeout(_WAIT_SECONDS):
            return await self._call.code()

    def of_kind(self, kind: str) -> list[pb.ConverseResponse]:
        return [response for response in self.received if response.WhichOneof("message") == kind]

    def spoken(self, utterance_id: str | None = None) -> bytes:
        """All audio the agent spoke, of one utterance or of all."""
        return b"".join(
            response.speak.data
            for response in self.of_kind("speak")
            if utterance_id in (None, response.speak.utterance_id)
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds, looking at each message of the agent."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not condition():
                if self.is_over:
                    raise AssertionError(f"the stream ended; received {len(self.received)}")
                self._news.clear()
                await self._news.wait()

    async def expect(self, kind: str, count: int = 1) -> pb.ConverseResponse:
        """The count-th message of a kind, once it is there."""
        await self.until(lambda: len(self.of_kind(kind)) >= count)
        return self.of_kind(kind)[count - 1]

    async def play_state(
        self, utterance_id: str, state: pb.PlayState.State.ValueType, played_ms: int = 0
    ) -> None:
        await self.send(
            play_state=pb.PlayState(utterance_id=utterance_id, state=state, played_ms=played_ms)
        )

    async def handoff(
        self, request_id: str, phase: handoff_pb2.Phase.ValueType, revision: int
    ) -> None:
        await self.send(
            handoff_update=pb.HandoffUpdate(
                handoff_id="h1", request_id=request_id, phase=phase, revision=revision
            )
        )

    async def listen(self) -> None:
        """Collects what the agent says until the stream ends."""
        try:
            while isinstance(response := await self._call.read(), pb.ConverseResponse):
                self.received.append(response)
                self._news.set()
                await self._play(response)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the status is there for the test: `code`
        finally:
            self.is_over = True
            self._news.set()

    async def _play(self, response: pb.ConverseResponse) -> None:
        if not self.plays or self._call.done():
            return
        if response.HasField("speak"):
            name = response.speak.utterance_id
            first = sum(len(one.speak.data) > 0 for one in self._pieces(name)) <= 1
            if first:
                await self.play_state(name, pb.PlayState.STATE_STARTED)
            if response.speak.last:
                await self.play_state(name, pb.PlayState.STATE_FINISHED)
        if response.HasField("mark"):
            mark = pb.PlayState(state=pb.PlayState.STATE_MARK, mark=response.mark.name)
            await self.send(play_state=mark)

    def _pieces(self, utterance_id: str) -> list[pb.ConverseResponse]:
        return [one for one in self.of_kind("speak") if one.speak.utterance_id == utterance_id]


@asynccontextmanager
async def dial(address: str) -> AsyncIterator[WorkerPeer]:
    """A channel to the agent and one call on it; both are gone afterwards."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = agent_pb2_grpc.VoiceAgentStub(channel).Converse()
        peer = WorkerPeer(call)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(peer.listen())
            try:
                yield peer
            finally:
                call.cancel()
                listening.cancel()
