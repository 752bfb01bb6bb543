"""A real rtpengine, a recorder, a pacer: what a simulated call runs through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.processes import open_lab
from voicefork_cli.lab.rtpengine import Rtpengine, open_rtpengine
from voicefork_cli.sim.pacer import Pacer, open_pacer

from tests.integration.sim.recorder import Recorder, open_recorder


@pytest.fixture
def pacer() -> Iterator[Pacer]:
    with open_pacer() as pacer:
        yield pacer


@pytest.fixture
async def recorder(pacer: Pacer) -> AsyncIterator[Recorder]:
    async with open_recorder(pacer) as recorder:
        yield recorder


@pytest.fixture
async def rtpengine() -> AsyncIterator[Rtpengine]:
    try:
        async with open_lab() as lab, open_rtpengine(lab, rtp_ports=200) as rtpengine:
            yield rtpengine
    except MissingProgramError as error:
        pytest.skip(str(error))
