"""Services with certificates, and who dials them."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from voicefork_cli.grpc_channel import Tls, channel_to

from tests.builders.certificates import Authority, Signed

WORKER, ORCHESTRATOR = "voicefork-worker", "voicefork-orchestrator"


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate a component, with its name and no address; `ca` is the file they trust."""

    authority: Authority
    ca: Path
    worker: Signed
    orchestrator: Signed
    client: Signed

    def options(self, own: Signed) -> tuple[str, ...]:
        """What a worker and an orchestrator are started with."""
        return (
            *("--grpc-cert", str(own.certificate), "--grpc-key", str(own.key)),
            *("--grpc-ca", str(self.ca), "--grpc-worker-name", WORKER),
            *("--grpc-orchestrator-name", ORCHESTRATOR),
        )

    def dialling(self, name: str) -> Tls:
        return Tls(self.ca, self.client.certificate, self.client.key, name)


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    authority = Authority(tmp_path)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    worker, orchestrator = (
        authority.sign(name, names=f"DNS:{name}") for name in (WORKER, ORCHESTRATOR)
    )
    return Issued(authority, trusted, worker, orchestrator, authority.sign("client"))


async def check(channel: grpc.aio.Channel) -> int:
    """The health's status. Raises grpc.aio.AioRpcError."""
    stub = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)  # type: ignore[attr-defined]
    return int(answer.status)


async def answers(address: str, tls: Tls) -> bool:
    """Does it serve whoever dials like this, on a connection of its own?"""
    async with channel_to(address, tls) as channel:
        try:
            return await check(channel) == health_pb2.HealthCheckResponse.SERVING
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False


async def shown(address: str, tls: Tls) -> bytes:
    """The certificate that a new connection is shown (DER)."""
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.cert), tls.key)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(20):
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname=tls.name
        )
    session: ssl.SSLObject = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return session.getpeercert(binary_form=True) or b""


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())
