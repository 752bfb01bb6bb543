"""Where the parts of an installation are."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from voicefork_cli.grpc_channel import PLAINTEXT, Tls


@dataclass(frozen=True, slots=True)
class Places:
    """Empty: not looked at."""

    worker: str = ""  # HOST:PORT of its SIP; a name may stand for several workers
    worker_admin: int = 8090  # the port of its admin pages
    worker_control: int = 0  # the port of its gRPC; 0 = not looked at
    orchestrator: str = ""  # HOST:PORT of its gRPC
    orchestrator_admin: str = ""  # HOST:PORT
    redis: str = ""  # redis://...
    ari: str = ""  # http://host:port
    ari_user: str = "voicefork"
    ari_password: str = ""
    tls: Tls = PLAINTEXT  # of the orchestrator's gRPC
    worker_name: str = ""  # in the workers' certificates, as they are dialled by address


async def addresses_of(host: str) -> list[str]:
    """The IPv4 addresses of a name, in order. Raises OSError: it has none."""
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    return sorted({str(answer[4][0]) for answer in answers})


def local_address_towards(host: str) -> str:
    """Our address on the way to `host` (an IPv4 address): what it can answer to.

    Raises OSError: there is no way.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing
        return str(probe.getsockname()[0])
