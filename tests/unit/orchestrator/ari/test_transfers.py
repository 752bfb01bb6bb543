"""A bot's REFER: whether this Asterisk survives it, and what the bot hears of it, once."""

from __future__ import annotations

from typing import Any, cast

import pytest
from orchestrator.ari.client import AriClient
from orchestrator.ari.transfers import AriTransfers, Progress, ari_only_is_safe


class Told(AriClient):
    def __init__(self) -> None:
        super().__init__(cast(Any, None), "voicefork-0")
        self.states: list[str] = []

    async def transfer_progress(self, channel_id: str, state: str) -> None:
        self.states.append(state)


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ("22.10.1+dfsg+~cs6.17.60671434-1", False),
        ("22.3.0", False),
        ("20.19.0", False),
        ("22.11.0-rc1", True),
        ("23.1.0", True),
        ("", False),
        ("GIT-master", False),
    ],
)
def test_only_an_asterisk_that_survives_it_is_trusted_with_ari_only(
    version: str, safe: bool
) -> None:
    assert ari_only_is_safe(version) is safe


async def test_a_bot_that_is_hung_up_as_others_have_its_caller_hears_of_the_success() -> None:
    client = Told()
    transfers = AriTransfers(client)
    assert await transfers.begin("bot")
    await transfers.close("bot")
    assert client.states == ["channel_progress", "channel_answered"]


async def test_a_bot_whose_caller_has_hung_up_hears_of_no_success() -> None:
    client = Told()
    transfers = AriTransfers(client)
    await transfers.begin("bot")
    transfers.abandon("bot")
    await transfers.close("bot")
    assert client.states[-1] == "channel_unavailable"


async def test_the_end_is_told_once() -> None:
    client = Told()
    transfers = AriTransfers(client)
    await transfers.begin("bot")
    await transfers.end("bot", Progress.DECLINED)
    await transfers.close("bot")
    assert client.states == ["channel_progress", "channel_declined"]


async def test_a_second_refer_meanwhile_is_not_begun() -> None:
    transfers = AriTransfers(Told())
    assert await transfers.begin("bot")
    assert not await transfers.begin("bot")
