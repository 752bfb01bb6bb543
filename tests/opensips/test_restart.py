"""What outlives an OpenSIPS and an rtpengine: calls, forks, and the way out without harm."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, render_opensips, run_opensips
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.templates import shipped
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.errors import CallRefused
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.opensips.mi import ask, calls
from tests.opensips.postgres import open_postgres
from tests.opensips.recorder import Recorder
from tests.opensips.tables import make_database


@pytest.fixture
async def caller() -> AsyncIterator[CarrierCaller]:
    async with open_caller() as caller:
        yield caller


async def dial(caller: CarrierCaller, edge: OpenSips, number: str = "+14155550199") -> None:
    await caller.dial(f"sip:{number}@{edge.sip}", Tone(440))


RESTARTS = [
    ("sqlite", number, hide)
    for number in (signal.SIGTERM, signal.SIGKILL)
    for hide in (True, False)
]
RESTARTS += [("postgres", number, True) for number in (signal.SIGTERM, signal.SIGKILL)]


@asynccontextmanager
async def open_database(lab: Lab, kind: str) -> AsyncIterator[str]:
    """An empty database; its URL for OpenSIPS."""
    if kind == "sqlite":
        yield make_database(lab.folder / "edge.db")
        return
    async with open_postgres(lab) as url:
        yield url


@pytest.mark.parametrize("how", RESTARTS, ids=str)
async def test_calls_and_their_forks_outlive_a_restart(
    lab: Lab,
    edge_plan: Callable[..., OpenSipsPlan],
    caller: CarrierCaller,
    recorder: Recorder,
    how: tuple[str, signal.Signals, bool],
) -> None:
    kind, number, hide = how
    async with AsyncExitStack() as opened:
        database = await opened.enter_async_context(open_database(lab, kind))
        home = render_opensips(lab, edge_plan(database=database, hide_topology=hide))
        async with run_opensips(lab, home) as edge:
            await dial(caller, edge)
            fork = await recorder.fork()
            await fork.audio("customer", 50)
            edge.program.signal(number)
            await fork.audio("customer", 50)  # the audio does not need OpenSIPS
        edge = await opened.enter_async_context(run_opensips(lab, home))
        async with asyncio.timeout(3):
            while await calls(edge) != 1:  # noqa: ASYNC110 - asked, not told
                await asyncio.sleep(0.1)
        recorder.requests.clear()
        await caller.hold()
        await recorder.asked("INVITE")
        await caller.resume()
        await fork.audio("customer")
        await caller.hang_up()
        async with asyncio.timeout(5):
            await fork.ended.wait()
        assert {request.call_id for request in recorder.requests if request.method == "INVITE"} == {
            fork.invite.call_id
        }


async def drain(lab: Lab, edge: OpenSips, seconds: int, quiet: int = 0) -> int:
    script = shipped("opensips") / "drain.sh"
    env = {"DRAIN_QUIET_SECONDS": str(quiet)}
    async with lab.program("drain", [script, edge.home.mi, seconds], env=env) as program:
        return await program.wait()


async def test_a_draining_edge_takes_emergency_calls_alone_and_waits_for_the_others(
    lab: Lab, edge: OpenSips, caller: CarrierCaller, pbx: AgentPhone
) -> None:
    await dial(caller, edge)
    drained = asyncio.ensure_future(drain(lab, edge, 20))
    async with asyncio.timeout(5):
        while (await ask(edge, "shv_get", name="draining"))["VAR"]["value"] != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with open_caller() as late:
        with pytest.raises(CallRefused, match="503"):
            await dial(late, edge)
    async with open_caller() as urgent:
        await dial(urgent, edge, "112")
    await caller.hold()
    await asyncio.sleep(1)
    assert not drained.done()
    await caller.hang_up()
    assert await drained == 0


async def test_a_drain_gives_up_at_its_deadline(
    lab: Lab, edge: OpenSips, caller: CarrierCaller
) -> None:
    await dial(caller, edge)
    assert await drain(lab, edge, 1) == 1


async def test_a_drain_without_an_opensips_says_so(lab: Lab, edge: OpenSips) -> None:
    edge.program.signal(signal.SIGKILL)
    await edge.program.wait()
    edge.home.mi.unlink()
    assert await drain(lab, edge, 1) == 2


async def test_after_a_drain_opensips_ends_without_aborting(
    lab: Lab, edge: OpenSips, caller: CarrierCaller, recorder: Recorder
) -> None:
    await dial(caller, edge)
    await recorder.fork()
    await asyncio.sleep(0.5)
    await caller.hang_up()
    assert await drain(lab, edge, 20, quiet=10) == 0
    edge.program.signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await edge.program.wait() == 0
    assert "aborting" not in edge.program.log_text()
