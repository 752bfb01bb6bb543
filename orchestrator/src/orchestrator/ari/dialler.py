"""Calls out, dialled by ARI (implements fleet.placing.Dialler)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from orchestrator.ari.client import AriClient, Place
from orchestrator.errors import NotFound

OUT = Place("voicefork-out", "s")
"""Of the shipped include: recording begins there, and the call comes back as any other."""


class AriDialler:
    """`args` is the first argument of Stasis for a leg that was just answered."""

    def __init__(self, client: AriClient, args: str) -> None:
        self._client = client
        self._args = args

    async def call_out(
        self,
        channel_id: str,
        endpoint: str,
        *,
        caller_id: str,
        ring_seconds: int,
        variables: Mapping[str, str],
    ) -> None:
        await self._client.originate(
            channel_id,
            endpoint,
            args=self._args,
            caller_id=caller_id,
            ring_seconds=ring_seconds,
            variables=variables,
        )

    async def begin(self, channel_id: str) -> bool:
        """False: the dialplan has no such place, and the call is still ours."""
        if await self._client.place_exists(channel_id, OUT) is False:
            return False
        await self._client.resume(channel_id, OUT)
        return True

    async def hang_up(self, channel_id: str) -> None:
        with suppress(NotFound):
            await self._client.hang_up(channel_id)
