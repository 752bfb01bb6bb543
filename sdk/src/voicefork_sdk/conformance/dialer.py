"""A worker's side of one call, for the conformance check: streams audio and plays the answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.agent.v1 import agent_pb2_grpc

from voicefork_sdk.conformance.checks import OPENED_SECONDS, downlink, uplink
from voicefork_sdk.conformance.record import Received, Record, Sent
from voicefork_sdk.model import AudioFormat, Encoding

_CHUNK_MS = 20
_EARLY_SECONDS = 0.4
_PROGRESS_MS = 200
_END_SECONDS = 4.0
_SILENCE = {Encoding.G711_ULAW: b"\xff", Encoding.G711_ALAW: b"\xd5"}


@dataclass(slots=True)
class _Playing:
    """An utterance as a worker's playout sees it."""

    sent_ms: float = 0.0
    played_ms: float = 0.0
    complete: bool = False
    started: bool = False
    over: bool = False


class ConformanceCall:
    """Runs one scripted call in real time; `run` returns the record."""

    def __init__(self, channel: grpc.aio.Channel, offer: pb.Open, audio_8k: bytes) -> None:
        self._stub = agent_pb2_grpc.VoiceAgentStub(channel)
        self._record = Record(offer)
        self._audio = audio_8k  # PCM_S16LE, played to the agent after the answer
        self._seq = 0
        self._pts = 0
        self._utterances: dict[str, _Playing] = {}
        self._opened = asyncio.Event()

    async def run(self, seconds: float) -> Record:
        """`seconds` of answered call: half of it free, then a CUT, then a Freeze, then Close."""
        loop = asyncio.get_running_loop()
        self._begun = loop.time()
        call = self._stub.Converse()
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen(call))
            try:
                await self._talk(call, seconds)
                async with asyncio.timeout(_END_SECONDS):
                    await asyncio.shield(asyncio.wait([listening]))
            except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass  # the record says how far it came
            finally:
                call.cancel()
        return self._record

    async def _talk(self, call: _Stream, seconds: float) -> None:
        await self._send(call, open=self._record.offer)
        async with asyncio.timeout(OPENED_SECONDS + 1):
            await self._opened.wait()
        await self._stream(call, _EARLY_SECONDS)
        await self._send(call, call_state=pb.CallState(state=pb.CallState.STATE_ANSWERED))
        await self._send(call)  # a message of a later version: to be ignored
        await self._stream(call, seconds * 0.5)
        await self._cut(call)
        await self._stream(call, seconds * 0.25)
        await self._send(call, freeze=pb.Freeze(reason="conformance"))
        await self._stream(call, seconds * 0.25)
        await self._send(call, close=pb.Close(reason=pb.Close.REASON_CALL_ENDED))
        await call.done_writing()

    async def _stream(self, call: _Stream, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        form = uplink(self._record)
        legs = list(self._opened_legs())
        for _ in range(round(seconds * 1000 / _CHUNK_MS)):
            chunk = self._next_chunk(form)
            parts = [pb.LegAudio(handle=leg, data=chunk) for leg in legs]
            await self._send(call, audio=pb.Audio(pts=self._pts, legs=parts))
            self._pts += form.sample_rate * _CHUNK_MS // 1000
            for state in self._play():
                await self._send(call, play_state=state)
            due += _CHUNK_MS / 1000
            await asyncio.sleep(due - loop.time())

    def _next_chunk(self, form: AudioFormat) -> bytes:
        size = form.size(_CHUNK_MS)
        if form.encoding is not Encoding.PCM_S16LE or form.sample_rate != 8000:  # noqa: PLR2004
            return _SILENCE.get(form.encoding, b"\0") * size
        if self._record.answered_at is None:
            return bytes(size)
        chunk, self._audio = self._audio[:size], self._audio[size:]
        return chunk.ljust(size, b"\0")

    def _opened_legs(self) -> list[int]:
        opened = self._record.opened
        customer = [1] if self._record.offer.role == pb.ROLE_PRIMARY else [1, 2]
        return list(opened.legs) if opened is not None and opened.legs else customer

    def _play(self) -> list[pb.PlayState]:
        """One tick of playout: the oldest utterance that is not over plays 20 ms."""
        for name, playing in self._utterances.items():
            if playing.over:
                continue
            states = []
            if not playing.started:
                playing.started = True
                states.append(self._state(name, pb.PlayState.STATE_STARTED))
            before = playing.played_ms
            playing.played_ms = min(playing.sent_ms, before + _CHUNK_MS)
            if playing.complete and playing.played_ms >= playing.sent_ms:
                playing.over = True
                states.append(self._state(name, pb.PlayState.STATE_FINISHED))
            elif before // _PROGRESS_MS != playing.played_ms // _PROGRESS_MS:
                states.append(self._state(name, pb.PlayState.STATE_PROGRESS))
            return states
        return []

    async def _cut(self, call: _Stream) -> None:
        for name, playing in self._utterances.items():
            if not playing.over:
                playing.over = True
                await self._send(call, play_state=self._state(name, pb.PlayState.STATE_CUT))

    def _state(self, name: str, state: pb.PlayState.State.ValueType) -> pb.PlayState:
        playing = self._utterances[name]
        return pb.PlayState(
            utterance_id=name,
            state=state,
            played_ms=round(playing.played_ms),
            queued_ms=round(playing.sent_ms - playing.played_ms),
        )

    async def _send(self, call: _Stream, **message: object) -> None:
        self._seq += 1
        request = pb.ConverseRequest(seq=self._seq, **message)  # type: ignore[arg-type]
        self._record.sent.append(Sent(self._now(), request))
        async with asyncio.timeout(_END_SECONDS):
            await call.write(request)

    async def _listen(self, call: _Stream) -> None:
        try:
            while isinstance(response := await call.read(), pb.ConverseResponse):
                self._record.received.append(Received(self._now(), response))
                self._took(response)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError) as error:
            # our own call.cancel() surfaces as CancelledError of the RPC, not of this task
            if isinstance(error, asyncio.CancelledError) and _is_cancelling():
                raise
        self._record.ended_at = self._now()
        self._record.status = (await call.code()).name
        self._opened.set()

    def _took(self, response: pb.ConverseResponse) -> None:
        match response.WhichOneof("message"):
            case "opened":
                self._opened.set()
            case "speak":
                speak = response.speak
                playing = self._utterances.setdefault(speak.utterance_id, _Playing())
                playing.sent_ms += downlink(self._record).duration_ms(len(speak.data))
                playing.complete = playing.complete or speak.last
            case "clear":
                for name in response.clear.utterance_ids or list(self._utterances):
                    if name in self._utterances:
                        self._utterances[name].over = True
            case _:
                pass

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._begun


_Stream = grpc.aio.StreamStreamCall[pb.ConverseRequest, pb.ConverseResponse]


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
