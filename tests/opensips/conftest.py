"""Real OpenSIPS, rtpengine and Asterisk for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, find_asterisk, open_asterisk
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, find_opensips, open_opensips
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.rtpengine import Rtpengine, open_rtpengine
from voicefork_cli.sim.phone import AgentPhone, open_phone

from tests.opensips.recorder import Recorder, open_recorder

Opening = Callable[..., AbstractAsyncContextManager[OpenSips]]


@pytest.fixture(autouse=True, scope="session")
def programs_are_installed() -> None:
    """Skips the folder, with the reason, where one of them is missing."""
    try:
        find_opensips()
        find_asterisk()
    except MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with open_recorder() as recorder:
        yield recorder


@pytest.fixture
async def spare() -> AsyncIterator[Recorder]:
    """The recorder that is asked when the first one does not answer."""
    async with open_recorder() as recorder:
        yield recorder


@pytest.fixture
def recorders(recorder: Recorder, spare: Recorder) -> tuple[str, str]:
    """The addresses of both."""
    return recorder.address, spare.address


@pytest.fixture
async def carrier() -> AsyncIterator[AgentPhone]:
    """A subscriber of the carrier, for calls that the PBX places."""
    async with open_phone("carrier") as phone:
        yield phone


@pytest.fixture
async def pbx() -> AsyncIterator[AgentPhone]:
    """A telephone in the place of the PBX, where only the edge matters."""
    async with open_phone("pbx") as phone:
        yield phone


@pytest.fixture
async def asterisk(lab: Lab) -> AsyncIterator[Asterisk]:
    async with open_asterisk(lab, AsteriskPlan()) as asterisk:
        yield asterisk


@pytest.fixture
async def rtpengine(lab: Lab) -> AsyncIterator[Rtpengine]:
    async with open_rtpengine(lab, rtp_ports=600) as rtpengine:
        yield rtpengine


@pytest.fixture
async def opensips(
    lab: Lab,
    asterisk: Asterisk,
    rtpengine: Rtpengine,
    recorders: tuple[str, str],
    carrier: AgentPhone,
) -> AsyncIterator[OpenSips]:
    plan = OpenSipsPlan(
        pbx=asterisk.sip,
        carrier=where(carrier),
        rtpengine=f"{rtpengine.host}:{rtpengine.port}",
        workers=recorders,
    )
    async with open_opensips(lab, plan) as opensips:
        yield opensips


@pytest.fixture
def edge_plan(
    rtpengine: Rtpengine,
    pbx: AgentPhone,
    carrier: AgentPhone,
    recorders: tuple[str, str],
) -> Callable[..., OpenSipsPlan]:
    """Makes the plan of an edge between the two telephones; keywords are values of it."""

    def plan(**values: object) -> OpenSipsPlan:
        return OpenSipsPlan(
            pbx=where(pbx),
            carrier=where(carrier),
            rtpengine=f"{rtpengine.host}:{rtpengine.port}",
            workers=recorders,
            values=values,
        )

    return plan


@pytest.fixture
def open_edge(lab: Lab, edge_plan: Callable[..., OpenSipsPlan]) -> Opening:
    """Opens an edge between the two telephones; keywords are values of its configuration."""

    def opening(**values: object) -> AbstractAsyncContextManager[OpenSips]:
        return open_opensips(lab, edge_plan(**values))

    return opening


@pytest.fixture
async def edge(open_edge: Opening) -> AsyncIterator[OpenSips]:
    """An edge between the two telephones."""
    async with open_edge() as opensips:
        yield opensips


def where(phone: AgentPhone) -> str:
    """host:port of a telephone."""
    return phone.uri.partition("@")[2].partition(";")[0]
