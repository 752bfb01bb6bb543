"""All workers of a pool are restarted, one after the other, under the calls of a real OpenSIPS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from voicefork_cli.lab.opensips import OpenSipsPlan
from voicefork_cli.lab.ours import Service
from voicefork_cli.lab.processes import Lab, Running
from voicefork_cli.lab.rtpengine import open_rtpengine

from tests.builders.moving_forks import TONE_HZ, until
from tests.opensips.house import House, open_house
from tests.opensips.mi import count
from tests.opensips.sipp.run import open_pbx

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]

CROWD = Path(__file__).parent / "crowd.py"
CALLS = int(os.environ.get("VOICEFORK_ROLLING_CALLS", "20"))
POOL = ("w1", "w2", "w3")
PORTS_OF_A_CALL = 8  # in rtpengine: RTP and RTCP of two parties and of both forked legs
SETTLED_SECONDS = 1.5  # calls and their AIs' tokens are stored, a new worker has beaten


@asynccontextmanager
async def open_pool(lab: Lab) -> AsyncIterator[House]:
    """Three workers behind an edge; SIPp is the PBX."""
    async with (
        open_rtpengine(lab, rtp_ports=PORTS_OF_A_CALL * (CALLS + 60)) as rtpengine,
        open_pbx(lab) as (pbx, _),
    ):
        relay = f"{rtpengine.host}:{rtpengine.port}"
        plan = OpenSipsPlan(pbx=pbx, carrier="127.0.0.1:9", rtpengine=relay, workers=())
        async with open_house(lab, plan, POOL) as house:
            yield house


def figures(crowd: Running) -> dict[str, int]:
    """What the crowd has told last."""
    lines = crowd.log_text().splitlines()
    found: dict[str, int] = json.loads(lines[-1]) if lines else {"calls": 0}
    return found


async def restart(house: House, worker: Service, name: str) -> None:
    """Ends a worker as Kubernetes does, and has another in its place."""
    worker.program.signal(signal.SIGTERM)
    async with asyncio.timeout(40):
        assert await worker.program.wait() == 0, worker.program.log_tail()
    house.workers.remove(worker)
    await house.add_worker(name)
    await asyncio.sleep(SETTLED_SECONDS)


async def test_a_rolling_restart_of_three_cuts_no_call_and_loses_no_fork(
    lab: Lab, request: pytest.FixtureRequest
) -> None:
    async with (
        open_pool(lab) as house,
        lab.program("crowd", [sys.executable, CROWD, house.edge.sip, CALLS, TONE_HZ]) as crowd,
    ):
        await until(lambda: len(house.ai.heard) >= CALLS)
        await asyncio.sleep(SETTLED_SECONDS)
        for number, worker in enumerate(list(house.workers)):
            await restart(house, worker, f"new-{number}")
        crowd.signal(signal.SIGUSR1)
        await asyncio.sleep(SETTLED_SECONDS)
        told = figures(crowd)
        calls, heard = told["calls"], house.ai.heard.values()
        shown = f"{len(POOL)} workers restarted under {calls} calls: {told['cut']} cut"
        missing = sum(one.missing() for one in heard)
        request.config.get_terminal_writer().line(f"\n{shown}, {missing} samples missing")
        assert told == {"calls": calls, "cut": 0, "failed": 0, "stalls": 0}
        assert calls > CALLS
        assert await count(house.edge, "voicefork_forks_started") == calls
        assert sum([len(await house.live(worker)) for worker in house.workers]) == calls
        await house.hears_all()
        assert house.ai.begun == len(heard) == calls  # each is one conversation all the time
        assert missing == 0
        assert sum(one.slips() for one in heard) == 0
        assert [gap for one in heard for gap in one.gaps] == []
        crowd.signal(signal.SIGTERM)
        await until(lambda: all(one.closed for one in heard), 10)
        assert await house.forks_stored() == 0
