"""An rtpengine in userspace (no kernel module, no privileges) on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running, find_program

READY_SECONDS = 30.0
RTP_PORTS = 1200  # a forked call takes 8: RTP and RTCP of two legs, each received and copied


@dataclass(frozen=True, slots=True)
class Rtpengine:
    """A running rtpengine: where its NG control protocol listens (UDP)."""

    host: str
    port: int
    program: Running

    async def request(self, body: bytes) -> bytes:
        """Sends one bencoded NG request, returns the bencoded answer (waits for ever)."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _OneAnswer(answer), remote_addr=(self.host, self.port)
        )
        try:
            transport.sendto(b"lab " + body)  # NG: cookie, blank, bencoded dictionary
            return (await answer).partition(b" ")[2]
        finally:
            transport.close()


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self._answer = answer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


@asynccontextmanager
async def open_rtpengine(
    lab: Lab, *, rtp_ports: int = RTP_PORTS, port: int = 0, media_host: str = HOST
) -> AsyncIterator[Rtpengine]:
    """Runs an rtpengine while the block runs; `port` is that of its control protocol, 0: any."""
    daemon = find_program("rtpengine", "apt-get install rtpengine-daemon, or `make setup`")
    port = port or lab.ports.single()
    argv = [
        *(daemon, "--foreground", "--log-stderr", "--config-file=none"),
        "--table=-1",  # no kernel forwarding
        *(f"--interface={media_host}", f"--listen-ng={HOST}:{port}"),
        *("--log-level=6", "--delete-delay=0"),
    ]
    async with AsyncExitStack() as opened:
        media = opened.enter_context(lab.ports.lent_rtp_range(rtp_ports))
        argv += [f"--port-min={media.first}", f"--port-max={media.last}"]
        program = await opened.enter_async_context(lab.program("rtpengine", argv))
        rtpengine = Rtpengine(HOST, port, program)

        async def answers() -> bool | None:
            async with asyncio.timeout(0.2):  # UDP: an early question is lost
                return b"pong" in await rtpengine.request(b"d7:command4:pinge") or None

        await program.wait_until(answers, READY_SECONDS)
        yield rtpengine
