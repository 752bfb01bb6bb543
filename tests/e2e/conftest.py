"""Real Asterisk for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from voicefork_cli.lab.asterisk import find_asterisk
from voicefork_cli.lab.errors import MissingProgramError
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
