"""gRPC channels that are kept: one per address, another one once our certificates are others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from orchestrator.grpc_tls import GrpcTls

_MOST_CHANNELS = 256


@dataclass(frozen=True, slots=True)
class Dialling:
    """How a kind of peer is dialled. `name`: what its certificate says, empty: its address."""

    tls: GrpcTls | None = None
    name: str = ""

    def credentials(self) -> grpc.ChannelCredentials | None:
        return self.tls.client() if self.tls is not None else None


class KeptChannels:
    """The most recently used by address, and those of certificates before: calls may be on them."""

    def __init__(self, dialling: Dialling, options: Sequence[tuple[str, int]]) -> None:
        self._dialling = dialling
        self._options = options
        self._kept: dict[str, tuple[grpc.aio.Channel, grpc.ChannelCredentials | None]] = {}
        self._retired: list[grpc.aio.Channel] = []

    def to(self, address: str) -> grpc.aio.Channel:
        """Kept open: the next call there is likely near."""
        credentials = self._dialling.credentials()
        channel, made_with = self._kept.pop(address, (None, None))
        if channel is not None and made_with is not credentials:
            self._retired.append(channel)  # it would dial again with what it was made of
            channel = None
        channel = channel or self._dial(address, credentials)
        self._kept[address] = channel, credentials  # the most recently used is the last
        return channel

    def __len__(self) -> int:
        return len(self._kept)

    def let_go(self, address: str) -> grpc.aio.Channel | None:
        """No longer kept: the caller of this method closes it, or it dials there for ever."""
        channel, _ = self._kept.pop(address, (None, None))
        return channel

    async def close_surplus(self) -> None:
        """Peers come and go; a channel closed too early is dialled anew. gRPC itself lets an idle
        one's connection go."""
        while len(self._kept) > _MOST_CHANNELS:
            channel, _ = self._kept.pop(next(iter(self._kept)))
            await channel.close()
        while len(self._retired) > _MOST_CHANNELS:
            await self._retired.pop(0).close()

    async def aclose(self) -> None:
        while self._kept:
            _, (channel, _) = self._kept.popitem()
            await channel.close()
        while self._retired:
            await self._retired.pop().close()

    def _dial(self, address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        if credentials is None:
            return grpc.aio.insecure_channel(address, options=self._options)
        name = self._dialling.name
        override = (("grpc.ssl_target_name_override", name),) if name else ()
        return grpc.aio.secure_channel(address, credentials, options=(*self._options, *override))
