# mypy: disable-error-code="import-not-found"
"""What others' receive paths do with a packet; runs in the peers' own venv (bench/peers.py).

    python peer_receive.py aiortc|aiortp STREAMS

A datagram endpoint of uvloop a stream, each packet parsed, put in order by the peer's jitter buffer
and decoded by its PCMU decoder; nothing is sent on. It prints "ports P...", and answers each line
on stdin by "packets N".

    python peer_receive.py pipecat STREAMS

Twilio's messages (JSON with base64, 20 ms each) through pipecat's serializer, which is what its
telephony transport does with one behind the WebSocket. Prints "us_per_message X" and ends.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Callable
from typing import Any

ROUNDS = 100
Take = Callable[[bytes], object]


def aiortc_taker() -> Take:
    from aiortc.codecs.g711 import PcmuDecoder  # noqa: PLC0415 - each peer is imported alone
    from aiortc.jitterbuffer import JitterBuffer  # noqa: PLC0415
    from aiortc.rtp import RtpPacket  # noqa: PLC0415

    buffer, decoder = JitterBuffer(capacity=16, prefetch=4), PcmuDecoder()

    def take(data: bytes) -> object:
        packet = RtpPacket.parse(data)
        packet._data = packet.payload
        frame = buffer.add(packet)[1]
        return decoder.decode(frame) if frame is not None else None

    return take


def aiortp_taker() -> Take:
    from aiortp.codecs import get_codec  # noqa: PLC0415
    from aiortp.jitterbuffer import JitterBuffer  # noqa: PLC0415
    from aiortp.packet import RtpPacket  # noqa: PLC0415

    buffer, codec = JitterBuffer(capacity=16, prefetch=4), get_codec(0)

    def take(data: bytes) -> object:
        packet = RtpPacket.parse(data)
        packet._data = packet.payload
        frame = buffer.add(packet)[1]
        return codec.decode(frame.data) if frame is not None else None

    return take


class Endpoint(asyncio.DatagramProtocol):
    packets = 0

    def __init__(self, take: Take) -> None:
        self._take = take

    def datagram_received(self, data: bytes, _: Any) -> None:
        Endpoint.packets += 1
        self._take(data)


async def receive(make: Callable[[], Take], streams: int) -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for _ in range(streams):
        transport, _ = await loop.create_datagram_endpoint(
            lambda: Endpoint(make()), local_addr=("127.0.0.1", 0)
        )
        ports.append(transport.get_extra_info("sockname")[1])
    print("ports", *ports, flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print("packets", Endpoint.packets, flush=True)


async def pipecat(streams: int) -> None:
    from pipecat.serializers.twilio import TwilioFrameSerializer  # noqa: PLC0415

    params = TwilioFrameSerializer.InputParams(sample_rate=8000, auto_hang_up=False)
    serializers = [TwilioFrameSerializer("MZ1", params=params) for _ in range(streams)]
    for serializer in serializers:
        serializer._sample_rate = 8000
    media = {"track": "inbound", "chunk": "1", "timestamp": "20"}
    media["payload"] = base64.b64encode(bytes(range(160))).decode()
    message = json.dumps({"event": "media", "streamSid": "MZ1", "media": media})
    began = time.process_time()
    for _ in range(ROUNDS):
        for serializer in serializers:
            await serializer.deserialize(message)
    cost = 1e6 * (time.process_time() - began) / (ROUNDS * streams)
    print(f"us_per_message {cost:.2f}", flush=True)


if __name__ == "__main__":
    import uvloop

    name, count = sys.argv[1], int(sys.argv[2])
    makers = {"aiortc": aiortc_taker, "aiortp": aiortp_taker}
    uvloop.run(receive(makers[name], count) if name in makers else pipecat(count))
