"""Load against a recorder, and the command that shows it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from typer.testing import CliRunner
from voicefork_cli.app import app
from voicefork_cli.sim.load import LoadPlan, LoadProgress, run_load
from voicefork_cli.sim.src import ForkState

from tests.builders.virtual_time import eventually
from tests.integration.sim.recorder import Recorder


async def test_every_call_is_recorded_and_counted(recorder: Recorder) -> None:
    progress = LoadProgress()
    await run_load(LoadPlan(recorder.uri(), calls=5, rate=50, seconds=0.5), progress)
    assert progress.states == {ForkState.RECORDING: 5}
    assert (progress.begun, progress.running, progress.failed) == (5, 0, 0)
    heard = [recording.heard(label) for recording in recorder.recordings for label in "10"]
    assert progress.packets >= 5 * 2
    await eventually(lambda: sum(map(len, heard)) >= progress.packets)
    assert sum(map(len, heard)) == progress.packets
    assert all(heard)
    assert progress.setup_quantile_ms(0.5) >= 30
    assert [r.methods for r in recorder.recordings] == [["INVITE", "ACK", "BYE"]] * 5


async def test_refused_calls_are_counted_with_their_reason(recorder: Recorder) -> None:
    recorder.manners = replace(recorder.manners, status=503)
    progress = LoadProgress()
    await run_load(LoadPlan(recorder.uri(), calls=3, rate=50, seconds=0.5), progress)
    assert progress.reasons == {"503 No": 3}
    assert progress.packets == 0


async def test_a_cancelled_load_hangs_up(recorder: Recorder) -> None:
    progress = LoadProgress()
    work = asyncio.ensure_future(
        run_load(LoadPlan(recorder.uri(), calls=2, rate=100, seconds=60), progress)
    )
    await eventually(lambda: progress.states[ForkState.RECORDING] == 2)
    work.cancel()
    await asyncio.wait([work])
    assert [r.methods[-1] for r in recorder.recordings] == ["BYE", "BYE"]


async def test_the_command_shows_the_figures(recorder: Recorder) -> None:
    arguments = ["sim", "call", "--worker", recorder.uri(), "--seconds", "0.3"]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 0, result.output
    assert "1 of 1" in result.output


async def test_the_command_says_what_to_do_when_nobody_listens() -> None:
    arguments = ["sim", "call", "--worker", "sip:127.0.0.1:9;transport=tcp"]
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 1
    assert "Does a worker listen at sip:127.0.0.1:9" in result.output
