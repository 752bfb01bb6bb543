"""Real OpenSIPS, rtpengine and Asterisk for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from voicefork_cli.lab.asterisk import Asterisk, AsteriskPlan, find_asterisk, open_asterisk
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.opensips import OpenSips, OpenSipsPlan, find_opensips, open_opensips
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.rtpengine import open_rtpengine
from voicefork_cli.sim.phone import AgentPhone, open_phone

from tests.opensips.recorder import Recorder, open_recorder


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
async def carrier() -> AsyncIterator[AgentPhone]:
    """A subscriber of the carrier, for calls that the PBX places."""
    async with open_phone("carrier") as phone:
        yield phone


@pytest.fixture
async def asterisk(lab: Lab) -> AsyncIterator[Asterisk]:
    async with open_asterisk(lab, AsteriskPlan()) as asterisk:
        yield asterisk


@pytest.fixture
async def opensips(
    lab: Lab, asterisk: Asterisk, recorder: Recorder, spare: Recorder, carrier: AgentPhone
) -> AsyncIterator[OpenSips]:
    async with open_rtpengine(lab) as rtpengine:
        plan = OpenSipsPlan(
            pbx=asterisk.sip,
            carrier=carrier.uri.removeprefix("sip:").partition("@")[2].partition(";")[0],
            rtpengine=f"{rtpengine.host}:{rtpengine.port}",
            workers=(recorder.address, spare.address),
        )
        async with open_opensips(lab, plan) as opensips:
            yield opensips
