"""SIPp as carrier and as PBX: many calls, and transports that our own telephones do not speak."""

from __future__ import annotations

import asyncio
import csv
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running, find_program

SCENARIOS = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the calls, and how long each waited from INVITE to 200."""

    good: int
    failed: int
    set_up_ms: list[float]

    def percentile(self, share: float) -> float:
        times = sorted(self.set_up_ms)
        return times[min(len(times) - 1, int(share * len(times)))]


@dataclass(frozen=True, slots=True)
class Load:
    """Calls a second, how many in all, and how long each lasts."""

    rate: int = 10
    calls: int = 1
    seconds: float = 0.5
    transport: str = "u1"


async def carrier(lab: Lab, edge: str, load: Load, scenario: str = "call") -> Outcome:
    """Places the calls and waits for the end of the last one."""
    statistics = lab.folder / f"sipp-{lab.ports.single()}.csv"
    argv = [
        *(find_program("sipp", "apt-get install sip-tester"), edge),
        *("-sf", SCENARIOS / f"{scenario}.xml", "-t", load.transport),
        *("-i", HOST, "-p", lab.ports.single(), "-mp", lab.ports.single()),
        *("-m", load.calls, "-r", load.rate, "-d", int(load.seconds * 1000), "-l", 2000),
        *("-trace_stat", "-stf", statistics, "-fd", 1, "-trace_rtt", "-rtt_freq", 1),
        *("-trace_err", "-error_file", statistics.with_suffix(".err"), "-nostdin"),
        *("-recv_timeout", 10000, "-timeout", 120),
    ]
    async with lab.program(statistics.stem, argv) as sipp:
        await sipp.wait()
        times = lab.folder / f"{scenario}_{sipp.pid}_rtt.csv"
        text = times.read_text() if times.exists() else ""
    rows = list(csv.reader(text.splitlines(), delimiter=";"))[1:]
    last = list(csv.DictReader(statistics.read_text().splitlines(), delimiter=";"))[-1]
    good, failed = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
    return Outcome(good, failed, [float(row[1]) for row in rows])


@asynccontextmanager
async def open_pbx(lab: Lab) -> AsyncIterator[tuple[str, Running]]:
    """Answers every call at once, for load; its host:port."""
    port = lab.ports.single()
    argv = [find_program("sipp", "apt-get install sip-tester"), "-sn", "uas", "-aa"]
    argv += ["-i", HOST, "-p", str(port), "-mp", str(lab.ports.single()), "-nostdin"]
    async with lab.program(f"sipp-pbx-{port}", argv) as sipp:
        yield f"{HOST}:{port}", sipp


@asynccontextmanager
async def open_tunnel(to: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """A TCP address whose bytes go on to `to` by TLS: Debian's SIPp is built without."""
    host, _, port = to.rpartition(":")
    pumps: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        pumps.add(task)
        far_reader, far_writer = await _connect(host, int(port), context)
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, far_writer))
            group.create_task(_pump(far_reader, writer))

    server = await asyncio.start_server(accepted, HOST, 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _connect(
    host: str, port: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """OpenSIPS 4.0 opens its TLS listener a little later than the others."""
    async with asyncio.timeout(3):
        while True:
            try:
                return await asyncio.open_connection(host, port, ssl=context)
            except ConnectionRefusedError:
                await asyncio.sleep(0.1)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
