"""Everything together starts, is well, and ends."""

from __future__ import annotations

import aiohttp
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.stack import StackPlan, open_stack
from voicefork_cli.lab.templates import shipped

ECHO = shipped("sdk/examples") / "echo.py"


async def test_every_part_is_ready_in_order_and_nothing_is_left(lab: Lab) -> None:
    told: list[str] = []
    async with open_stack(lab, StackPlan(ECHO, workers=2), told.append) as stack:
        services = (stack.orchestrator, *stack.workers)
        async with aiohttp.ClientSession() as session:
            for service in services:
                url = f"http://{service.addresses['admin']}/readyz"
                async with session.get(url) as response:
                    assert response.status == 200, await response.text()
        programs = [service.program for service in (*services, stack.agent)]
        programs += [stack.redis.program, stack.rtpengine.program, stack.asterisk.program]
        assert len(set(stack.worker_uris)) == 2
    assert told == [
        *("redis", "rtpengine", "Asterisk", "AI agent", "orchestrator"),
        *("worker 1", "worker 2"),
    ]
    assert [each.name for each in programs if each.exit_code is None] == []
