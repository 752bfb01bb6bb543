"""The real fork into the real worker: the AI hears the caller, and nobody else."""

from __future__ import annotations

from typing import Any

import aiohttp
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.opensips import OpenSipsPlan, open_opensips
from voicefork_cli.lab.ours import Service, WorkerPlan, open_agent, open_worker
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.lab.templates import shipped
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.source import Tone

ECHO = shipped("sdk/examples") / "echo.py"


async def the_call(worker: Service, session: aiohttp.ClientSession) -> dict[str, Any]:
    """The one call of the worker, once an AI has it and a second of each leg has come."""
    address = worker.addresses["admin"]

    async def heard() -> dict[str, Any] | None:
        async with session.get(f"http://{address}/calls") as response:
            live = (await response.json())["live"]
        if not live:
            return None
        async with session.get(f"http://{address}/calls/{live[0]['call_id']}") as response:
            call: dict[str, Any] = await response.json()
        received = [leg["counters"].get("packets", 0) for leg in call["legs"]]
        return call if min(received, default=0) > 50 else None

    return await worker.program.wait_until(heard, 15)


async def no_call_is_left(worker: Service, session: aiohttp.ClientSession) -> None:
    async def ended() -> bool | None:
        async with session.get(f"http://{worker.addresses['admin']}/calls") as response:
            return not (await response.json())["live"] or None

    await worker.program.wait_until(ended, 5)


async def test_a_forked_call_reaches_the_ai_with_both_legs(lab: Lab) -> None:
    async with (
        open_asterisk(lab, AsteriskPlan()) as asterisk,
        open_rtpengine(lab) as rtpengine,
        open_agent(lab, ECHO) as agent,
        open_worker(lab, WorkerPlan(agent=f"grpc://{agent.addresses['agent']}")) as worker,
        open_opensips(
            lab,
            OpenSipsPlan(
                pbx=asterisk.sip,
                carrier="127.0.0.1:9",
                rtpengine=f"{rtpengine.host}:{rtpengine.port}",
                workers=(worker.addresses["sip"],),
            ),
        ) as opensips,
        aiohttp.ClientSession() as session,
        open_caller() as caller,
    ):
        await caller.dial(f"sip:901@{opensips.sip}", Tone(440))
        call = await the_call(worker, session)
        await caller.hang_up()
        await no_call_is_left(worker, session)
    assert {leg["kind"] for leg in call["legs"]} == {"customer", "pbx"}
    assert call["direction"] == "in"
    assert call["state"] == "recording"
    assert call["warnings"] == []
    assert [agent["role"] for agent in call["agents"]] == ["primary"]
