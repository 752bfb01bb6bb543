"""What is made to speak to somebody goes again, whatever fails."""

from __future__ import annotations

from typing import Any, cast

import aiohttp
import pytest
from orchestrator.ari.client import AriClient
from orchestrator.ari.voice import AriVoice
from orchestrator.errors import Unreachable
from orchestrator.handoff.ports import Sound
from orchestrator.model import ChannelId

AGENT = ChannelId("vf-h1-agent-1")


class Deaf(aiohttp.ClientWebSocketResponse):
    """Breaks as soon as something is said."""

    def __init__(self) -> None:
        pass

    def __del__(self) -> None:
        pass

    async def send_bytes(self, *_: Any) -> None:
        raise ConnectionResetError

    async def close(self, **_: Any) -> bool:
        return True


class Client(AriClient):
    """Says yes to everything but a hang-up, and remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__(cast(Any, self), "voicefork-0")
        self.asked: list[str] = []

    async def request(self, method: str, *path: str, **_: object) -> object:
        self.asked.append(f"{method} {'/'.join(path)}")
        if (method, path[0]) == ("DELETE", "channels"):
            raise Unreachable(method, "/".join(path), 0, "away")
        return None

    async def media(self, channel_id: str, codec: str) -> aiohttp.ClientWebSocketResponse:
        return Deaf()


async def test_a_whispers_bridge_goes_though_its_snoop_cannot_be_hung_up() -> None:
    client = Client()
    with pytest.raises(Unreachable):
        await AriVoice(client).whisper(AGENT, AGENT, Sound(bytes(320), 8000))
    assert f"DELETE bridges/{AGENT}-whisper-bridge" in client.asked
