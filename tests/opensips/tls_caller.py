"""A carrier's caller by TLS: one connection, on which everything comes and goes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voicefork_cli.sim.caller import CarrierCaller, Identity
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.flows import Flow, TcpFlow
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port


class TlsCaller(CarrierCaller):
    """Made by `open_tls_caller`."""

    def __init__(self, endpoint: SipEndpoint, rtp: RtpPort, shown: str) -> None:
        super().__init__(endpoint, rtp, Identity())
        self.shown = shown  # the edge's name, by its certificate

    @property
    def via(self) -> str:
        return f"TLS {self.endpoint.host}:{self.endpoint.port}"


@asynccontextmanager
async def open_tls_caller(to: str, context: ssl.SSLContext) -> AsyncIterator[TlsCaller]:
    """A caller, silent, that is connected to `to` (host:port)."""
    host, _, port = to.rpartition(":")
    async with open_sip() as endpoint:
        loop = asyncio.get_running_loop()
        transport, flow = await loop.create_connection(
            lambda: TcpFlow(endpoint._receive, endpoint.opened), host, int(port), ssl=context
        )

        async def kept(target: str) -> Flow:
            assert flow.is_open
            return flow

        endpoint.flow_to = kept  # type: ignore[method-assign]
        with open_rtp_port(None, host=endpoint.host) as rtp:
            caller = TlsCaller(endpoint, rtp, name_of(transport))
            try:
                yield caller
            finally:
                await caller.close()


async def shown_at(to: str, context: ssl.SSLContext) -> str:
    """The name in the certificate that a new connection is shown."""
    host, _, port = to.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    name = name_of(writer.transport)
    writer.transport.abort()
    return name


def name_of(transport: asyncio.BaseTransport) -> str:
    subject = transport.get_extra_info("peercert")["subject"]
    return str(dict(pair for part in subject for pair in part)["commonName"])
