"""Real Asterisk for the tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from voicefork_cli.lab.asterisk import find_asterisk
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.processes import Lab, open_lab
from voicefork_cli.sim.phone import AgentPhone, open_phone


@pytest.fixture(autouse=True, scope="session")
def asterisk_is_installed() -> None:
    """Skips the folder, with the reason, where there is no Asterisk."""
    try:
        find_asterisk()
    except MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture
async def phone() -> AsyncIterator[AgentPhone]:
    """The phone of agent-1."""
    async with open_phone("agent-1") as phone:
        yield phone


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage_lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """A run folder for a whole module; kept where one of its tests failed."""
    failed_before = request.session.testsfailed
    async with open_lab(keep=True) as lab:
        yield lab
    if request.session.testsfailed > failed_before:
        request.config.get_terminal_writer().line(f"\n{request.node.nodeid}: logs in {lab.folder}")
    else:
        shutil.rmtree(lab.folder)
