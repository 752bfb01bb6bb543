"""The simulated edge beside a real OpenSIPS with our script: the recorder sees no difference."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.opensips import OpenSipsPlan, find_opensips, open_opensips
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.lab.rtpengine import Rtpengine
from voicefork_cli.sim.caller import open_caller
from voicefork_cli.sim.edge import open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.message import Message, parse_uri
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.phone import AgentPhone, open_phone
from voicefork_cli.sim.sdp import audio_lines
from voicefork_cli.sim.source import Tone

from tests.integration.sim.recorder import Recorder

NO_CARRIER = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def _opensips() -> None:
    try:
        find_opensips()
    except MissingProgramError as error:
        pytest.skip(str(error))


@asynccontextmanager
async def real(phone: AgentPhone, recorder: Recorder, rtpengine: Rtpengine) -> AsyncIterator[str]:
    plan = OpenSipsPlan(
        pbx=at(phone.uri),
        carrier=NO_CARRIER,
        rtpengine=f"{rtpengine.host}:{rtpengine.port}",
        workers=[at(recorder.uri())],
    )
    async with open_lab() as lab, open_opensips(lab, plan) as opensips:
        yield f"sip:+14155550199@{opensips.sip}"


@asynccontextmanager
async def simulated(
    phone: AgentPhone, recorder: Recorder, rtpengine: Rtpengine
) -> AsyncIterator[str]:
    async def pick() -> list[str]:
        return [f"sip:{at(recorder.uri())};transport=tcp"]

    plan = EdgePlan(phone.uri, pick)
    async with open_edge(plan, (rtpengine.host, rtpengine.port)) as edge:
        yield edge.uri.replace("sip:", "sip:+14155550199@")


def at(uri: str) -> str:
    parsed = parse_uri(uri)
    return f"{parsed.host}:{parsed.port}"


async def held_call(uri: str, pacer: Pacer, recorder: Recorder) -> list[Message]:
    """A call that is held and resumed; what the recorder was asked."""
    recorder.invited.clear()
    async with open_caller(pacer=pacer) as caller:
        await caller.dial(uri, Tone(440))
        recording = await recorder.recording()
        await recording.acknowledged()
        await caller.hold()
        await recording.acknowledged(2)
        await caller.resume()
        await recording.acknowledged(3)
        await caller.hang_up()
        await recording.ended()
    return recording.requests


def told(request: Message) -> str:
    """A request with what differs from call to call made equal."""
    chance = (
        r"branch=[^;\r\n]+|tag=[\w-]+|B2B\.[\d.]+|127\.0\.0\.1:\d+|[\w+/]{22}==|[0-9a-f-]{36}"
        r"|Content-Length: \d+|o=.*|m=audio \d+|a=rtcp:\d+|sipSessionID>[^<]+|associate-time>[^<]+"
    )
    written = re.sub(chance, "*", request.encode().decode())
    return re.sub(r"User-Agent: .*\r\n", "", written)  # our script's server_signature=no


async def test_the_recorder_is_asked_the_same(
    rtpengine: Rtpengine, recorder: Recorder, pacer: Pacer
) -> None:
    asked = []
    async with open_phone(pacer=pacer) as phone:
        for edge in (real, simulated):
            async with edge(phone, recorder, rtpengine) as uri:
                asked.append(await held_call(uri, pacer, recorder))
    wanted, written = asked
    assert [r.method for r in written] == [r.method for r in wanted]
    assert [told(request) for request in written] == [told(request) for request in wanted]
    held = [line.direction for line in audio_lines(wanted[2].body)]
    assert held == ["sendonly", "inactive"]
