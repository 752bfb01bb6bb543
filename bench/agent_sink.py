"""An AI that only checks: a grpcio server, in a process of its own, that looks at every message.

Order: `seq` by one, `pts` by what came before it or by a Gap. Content: each frame must be the one
that bench/load.c sent at that place. Acknowledges once a second, as an AI does.

    python -m bench.agent_sink [--legs both|customer] [--stall NUMBER]

It prints "port P"; each line on stdin is answered by a line of JSON with the sums so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

import grpc
import uvloop
from siprec_worker.media.g711 import ulaw_to_linear
from voicefork.agent.v1 import agent_pb2 as pb

SERVICE = "voicefork.agent.v1.VoiceAgent"
PACKET_SAMPLES = 160
FRAME_BYTES = 2 * PACKET_SAMPLES
STAMP_SAMPLES = 32  # the time of sending, see stamp.h: not looked at here
PATTERN_STEP, PACKET_STEP = 3, 7
ACK_EVERY = 50  # messages: once a second
FRAMES = [
    ulaw_to_linear(bytes((first + PATTERN_STEP * at) % 256 for at in range(128)))
    for first in range(256)
]
NUMBERS = {frame: first for first, frame in enumerate(FRAMES)}
Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True)
class Seen:
    """Sums over all calls. A frame is 20 ms of one leg."""

    calls: int = 0
    opened: int = 0
    messages: int = 0
    frames: int = 0
    made_up: int = 0  # frames with a flag: concealed, not heard
    wrong_order: int = 0
    wrong_content: int = 0
    gaps: int = 0
    lost_packets: int = 0  # as told by Gap
    shed_gaps: int = 0
    stalled: str = ""  # id of the call that is not read


class Checker:
    """What one call must bring next."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._seq = 1
        self._places: dict[int, tuple[int, int]] = {}  # leg -> (next pts, next frame's number)

    def take(self, request: pb.ConverseRequest) -> None:
        seen = self._seen
        seen.messages += 1
        self._seq += 1
        if request.seq != self._seq:
            seen.wrong_order += 1
            self._seq = request.seq
        match request.WhichOneof("message"):
            case "audio":
                for leg in request.audio.legs:
                    self._take_leg(leg, request.audio.pts)
            case "gap":
                self._take_gap(request.gap)

    def _take_leg(self, leg: pb.LegAudio, pts: int) -> None:
        """20 ms of a leg, or more of them in one message where this AI was too slow."""
        seen, data = self._seen, leg.data
        if leg.flags:
            seen.made_up += len(data) // FRAME_BYTES
            self._places.pop(leg.handle, None)
            return
        for at in range(0, len(data), FRAME_BYTES):
            self._take_frame(leg.handle, pts + at // 2, data[at : at + FRAME_BYTES])

    def _take_frame(self, handle: int, pts: int, frame: bytes) -> None:
        seen = self._seen
        seen.frames += 1
        number = NUMBERS.get(frame[2 * STAMP_SAMPLES :])
        due = self._places.get(handle)
        if due is not None and pts != due[0]:
            seen.wrong_order += 1
        if number is None or (due is not None and number != due[1]):
            seen.wrong_content += 1
            self._places.pop(handle, None)
            return
        self._places[handle] = (pts + PACKET_SAMPLES, (number + PACKET_STEP) % 256)

    def _take_gap(self, gap: pb.Gap) -> None:
        self._seen.gaps += 1
        self._seen.lost_packets += gap.packets
        self._seen.shed_gaps += gap.cause == pb.GAP_CAUSE_SHED
        due = self._places.get(gap.leg)
        if due is None or due[0] != gap.from_pts:
            self._places.pop(gap.leg, None)
            return
        steps = (gap.to_pts - gap.from_pts) // PACKET_SAMPLES * PACKET_STEP
        self._places[gap.leg] = (gap.to_pts, (due[1] + steps) % 256)


class Agent:
    def __init__(self, both_legs: bool, stalled: int) -> None:
        self.seen = Seen()
        self._both_legs = both_legs
        self._stalled = stalled

    async def converse(self, _: AsyncIterator[bytes], context: Context) -> None:
        self.seen.calls += 1
        number = self.seen.calls
        told = pb.ConverseRequest.FromString(await _read(context)).open
        handles = [leg.handle for leg in told.legs] if self._both_legs else []
        opened = pb.ConverseResponse(seq=1, opened=pb.Opened(legs=handles))
        await context.write(opened.SerializeToString())
        self.seen.opened += 1
        if number == self._stalled:
            self.seen.stalled = told.call_id
            await asyncio.Event().wait()  # takes nothing more, for ever
        checker, said = Checker(self.seen), 1
        while body := await _read(context):
            request = pb.ConverseRequest.FromString(body)
            checker.take(request)
            if request.seq % ACK_EVERY == 0:
                said += 1
                ack = pb.ConverseResponse(seq=said, ack=pb.Ack(seq=request.seq))
                await context.write(ack.SerializeToString())


async def _read(context: Context) -> bytes:
    body = await context.read()
    return body if isinstance(body, bytes) else b""


async def serve(both_legs: bool, stalled: int) -> None:
    agent = Agent(both_legs, stalled)
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes]
    handler = grpc.stream_stream_rpc_method_handler(agent.converse)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Converse": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"port {port}", flush=True)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(asdict(agent.seen)), flush=True)
    await server.stop(None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.agent_sink")
    parser.add_argument("--legs", choices=("both", "customer"), default="both")
    parser.add_argument("--stall", type=int, default=0, help="this call, from 1, is never read")
    options = parser.parse_args()
    uvloop.run(serve(options.legs == "both", options.stall))


if __name__ == "__main__":
    main()
