"""The whole corpus once more: over TLS, over IPv6, and byte by byte over TCP."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from siprec_worker.config import HostPort

from tests.builders.certificates import Authority, Signed
from tests.integration.interop.client import connected_peer
from tests.integration.interop.corpus import Case, cases, cases_in
from tests.integration.interop.pages import Pages
from tests.integration.interop.walk import Walk, assert_alive
from tests.integration.interop.worker import ANY, running_worker

OWN = cases_in(Path(__file__).parents[2] / "data" / "siprec")
CASES = [*cases("sip"), *OWN]
STREAMS = [case for case in CASES if case.transport == "tcp"]
LONGEST = 70_000  # bytes


def names(case: Case) -> str:
    return case.id


@dataclass(frozen=True, slots=True)
class Certificates:
    authority: Path
    worker: Signed
    client: Signed


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    return Certificates(authority.certificate, authority.sign("worker"), authority.sign("client"))


@pytest.mark.parametrize("case", STREAMS, ids=names)
async def test_the_client_is_recorded_over_tls(case: Case, signed: Certificates) -> None:
    """Its certificate is asked for: the worker refuses clients without one."""
    context = ssl.create_default_context(cafile=signed.authority)
    context.load_cert_chain(signed.client.certificate, signed.client.key)
    async with (
        running_worker(
            sip_tls=ANY,
            sip_tls_certificate=signed.worker.certificate,
            sip_tls_key=signed.worker.key,
            sip_tls_ca=signed.authority,
            sip_tls_clients=True,
        ) as worker,
        connected_peer("tls", worker.host, worker.tls_port, context) as peer,
    ):
        await Walk(replace(case, transport="tls"), peer, Pages(worker)).run()
        await assert_alive(peer, "tls")


@pytest.mark.parametrize("case", CASES, ids=names)
async def test_the_client_is_recorded_over_ipv6(case: Case) -> None:
    if not has_ipv6():
        pytest.skip("no ::1 here")
    async with (
        running_worker(sip=HostPort("[::1]:0")) as worker,
        connected_peer(case.transport, "::1", worker.port) as peer,
    ):
        await Walk(case, peer, Pages(worker)).run()
        await assert_alive(peer, case.transport)


@pytest.mark.parametrize("case", STREAMS, ids=names)
async def test_the_client_is_recorded_byte_by_byte(case: Case) -> None:
    split = {**case.expected, "tcp_split": range(1, LONGEST)}
    async with (
        running_worker() as worker,
        connected_peer("tcp", worker.host, worker.port) as peer,
    ):
        await Walk(replace(case, expected=split), peer, Pages(worker)).run()
        await assert_alive(peer, "tcp")


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
