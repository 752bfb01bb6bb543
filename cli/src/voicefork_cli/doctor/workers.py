"""Workers: SIP OPTIONS and readiness of each address that the name has."""

from __future__ import annotations

import asyncio
import secrets
import time

import aiohttp

from voicefork_cli.doctor.finding import Finding, found
from voicefork_cli.doctor.orchestrators import health
from voicefork_cli.doctor.places import Places, addresses_of, local_address_towards
from voicefork_cli.sim.dialog import Dialog
from voicefork_cli.sim.endpoint import open_sip

ANSWER_SECONDS = 3.0
OK = 200


async def look_at_workers(places: Places) -> list[Finding]:
    if not places.worker:
        return []
    host, port = host_and_port(places.worker)
    try:
        addresses = await addresses_of(host)
    except OSError as error:
        advice = "is the name right, and does a worker run? `kubectl get endpoints` shows its pods"
        return [Finding(f"worker {host}", f"the name has no address: {error}", advice)]
    each = await asyncio.gather(*(_worker(address, port, places) for address in addresses))
    return [finding for findings in each for finding in findings]


async def _worker(address: str, port: int, places: Places) -> list[Finding]:
    admin = places.worker_admin
    sip = await found(
        f"worker {address}: SIP OPTIONS",
        f"nothing answers SIP over TCP at {address}:{port}: look at the worker's log, its --sip, "
        "and what is between (NetworkPolicy, firewall)",
        lambda: options(address, port),
    )
    ready = await found(
        f"worker {address}: ready",
        f"its admin pages at {address}:{admin} are not reached: see --admin",
        lambda: readiness(address, admin),
    )
    return [*sip, *ready, *await _control(address, places)]


async def _control(address: str, places: Places) -> list[Finding]:
    """Its gRPC, with the certificate that the orchestrator would want to see."""
    if not places.worker_control:
        return []
    what, at = f"worker {address}: gRPC health", f"{address}:{places.worker_control}"
    advice = (
        f"gRPC at {at} is not reached: see --control, and where it wants a certificate --tls-ca, "
        "--tls-cert, --tls-key, --tls-worker-name"
    )
    return await found(what, advice, lambda: health(what, at, places.tls.of(places.worker_name)))


async def options(address: str, port: int) -> list[Finding]:
    """Raises SimError, OSError."""
    what = f"worker {address}: SIP OPTIONS"
    ours = local_address_towards(address)
    async with open_sip(ours) as endpoint:
        target = f"sip:{address}:{port};transport=tcp"
        contact = endpoint.uri("doctor", "tcp")
        dialog = Dialog(
            f"{secrets.token_hex(8)}@{ours}",
            f"<sip:doctor@{ours}>;tag={secrets.token_hex(4)}",
            f"<sip:{address}:{port}>",
            target,
            f"<{contact}>",
        )
        flow = await endpoint.flow_to(target)
        began = time.monotonic()
        request = dialog.request("OPTIONS", f"TCP {ours}:{endpoint.port}")
        answer = await endpoint.begin(request, flow).final(ANSWER_SECONDS)
        took = (time.monotonic() - began) * 1000
    if answer.status == OK:
        return [Finding(what, f"200 in {took:.0f} ms")]
    advice = "403: see --sip-allow; 503: it is full or draining, see its /readyz"
    return [Finding(what, f"{answer.status} {answer.reason}", advice)]


async def readiness(address: str, admin: int) -> list[Finding]:
    """Raises aiohttp.ClientError."""
    what = f"worker {address}: ready"
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}:{admin}/readyz") as response,
    ):
        told = await response.json()
    if told.get("ready"):
        return [Finding(what, "yes")]
    return [Finding(what, f"no: {told.get('why')}", "it takes no calls until that is gone")]


def host_and_port(place: str) -> tuple[str, int]:
    """Raises ValueError for what is no HOST:PORT."""
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{place!r} is no HOST:PORT")
    return host, int(port)
