"""SIP over TLS: calls, client certificates, and files that change while it listens."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from siprec_worker.errors import SetupError
from siprec_worker.net.sip_endpoint import SipEndpoint, open_sip_endpoint
from siprec_worker.net.sip_tls import Credentials, TlsFiles, TlsListening
from siprec_worker.protocol.sip.events import Confirmed, Invited, UasEvent
from siprec_worker.protocol.sip.message import Request
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.certificates import Authority, Signed
from tests.builders.sdp import sdp
from tests.builders.sip import ANSWER
from tests.integration.interop.caller import Caller
from tests.integration.interop.client import connected_peer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> TlsFiles:
    ours = authority.sign("worker")
    return TlsFiles(ours.certificate, ours.key, authority.certificate)


def client(authority: Authority, own: Signed | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


class Answering:
    """Accepts every call."""

    def __init__(self) -> None:
        self.events: list[UasEvent] = []

    def __call__(self, endpoint: SipEndpoint, event: UasEvent) -> None:
        self.events.append(event)
        if isinstance(event, Invited):
            endpoint.accept(event.dialog_id, ANSWER)


@asynccontextmanager
async def listening(files: TlsFiles) -> AsyncIterator[tuple[SipEndpoint, Answering]]:
    listener = Answering()
    settings = UasSettings(host="127.0.0.1", port=0)
    tls = TlsListening("127.0.0.1", 0, files)
    async with open_sip_endpoint("127.0.0.1", 0, settings, listener, tls=tls) as endpoint:
        yield endpoint, listener


async def test_a_call_over_tls_names_tls_in_its_contact(
    authority: Authority, files: TlsFiles
) -> None:
    async with (
        listening(files) as (endpoint, listener),
        connected_peer("tls", "127.0.0.1", endpoint.tls_port, client(authority)) as peer,
    ):
        answer = await Caller(peer).ask(body=sdp(), headers=[("Content-Type", "application/sdp")])
        assert answer.headers.get("contact") == (
            f"<sip:srs@127.0.0.1:{endpoint.tls_port};transport=tls>;+sip.srs"
        )
        await until(lambda: any(isinstance(event, Confirmed) for event in listener.events))


async def test_our_bye_goes_back_over_the_same_connection(
    authority: Authority, files: TlsFiles
) -> None:
    async with (
        listening(files) as (endpoint, listener),
        connected_peer("tls", "127.0.0.1", endpoint.tls_port, client(authority)) as peer,
    ):
        await Caller(peer).ask(body=sdp(), headers=[("Content-Type", "application/sdp")])
        await until(lambda: any(isinstance(event, Confirmed) for event in listener.events))
        invited = listener.events[0]
        assert isinstance(invited, Invited)
        endpoint.bye(invited.dialog_id)
        bye = await peer.receive()
    assert isinstance(bye, Request)
    assert (bye.method, bye.top_via.transport, bye.top_via.port) == (
        "BYE", "TLS", endpoint.tls_port,
    )  # fmt: skip


async def test_without_a_client_certificate_nobody_is_heard(
    authority: Authority, files: TlsFiles
) -> None:
    asked = TlsFiles(files.certificate, files.key, files.ca, client_certificates=True)
    own = authority.sign("edge")
    async with listening(asked) as (endpoint, _):
        at = ("tls", "127.0.0.1", endpoint.tls_port)
        async with connected_peer(*at, client(authority)) as stranger:
            stranger.send(Caller(stranger).request("OPTIONS"))
            async with asyncio.timeout(20):
                await stranger.closed.wait()
            assert stranger.inbox.empty()
        async with connected_peer(*at, client(authority, own)) as known:
            assert (await Caller(known).ask("OPTIONS")).status == 200


@pytest.mark.parametrize("by_whom", ["another authority", "oneself"])
async def test_a_client_certificate_of_somebody_else_opens_nothing(
    tmp_path: Path, authority: Authority, files: TlsFiles, by_whom: str
) -> None:
    other = Authority(tmp_path, "other")
    shown = other.sign("edge") if by_whom == "another authority" else Signed(*other.own)
    asked = TlsFiles(files.certificate, files.key, files.ca, client_certificates=True)
    async with listening(asked) as (endpoint, listener):
        at = ("tls", "127.0.0.1", endpoint.tls_port)
        async with connected_peer(*at, client(authority, shown)) as stranger:
            stranger.send(Caller(stranger).request("OPTIONS"))
            async with asyncio.timeout(20):
                await stranger.closed.wait()
            assert stranger.inbox.empty()
        async with connected_peer(*at, client(authority, authority.sign("known"))) as known:
            assert (await Caller(known).ask("OPTIONS")).status == 200
        assert listener.events == []


async def test_a_certificate_that_nobody_asks_for_does_no_harm(
    authority: Authority, files: TlsFiles
) -> None:
    own = authority.sign("unasked")
    async with listening(files) as (endpoint, _):
        at = ("tls", "127.0.0.1", endpoint.tls_port)
        async with connected_peer(*at, client(authority, own)) as peer:
            assert (await Caller(peer).ask("OPTIONS")).status == 200


async def test_new_files_count_for_new_connections_while_old_ones_go_on(
    tmp_path: Path, authority: Authority
) -> None:
    ours = Authority(tmp_path, "first").sign("worker")
    async with listening(TlsFiles(ours.certificate, ours.key)) as (endpoint, _):
        at = ("tls", "127.0.0.1", endpoint.tls_port)
        before = ssl.create_default_context(cafile=tmp_path / "first.pem")
        async with connected_peer(*at, before) as old:
            assert (await Caller(old).ask("OPTIONS")).status == 200
            authority.sign("renewed", into=ours)
            assert await endpoint.renew_tls()
            assert (await Caller(old, "again@test").ask("OPTIONS")).status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connected_peer(*at, before):
                pass
        async with connected_peer(*at, client(authority)) as new:
            assert (await Caller(new).ask("OPTIONS")).status == 200


async def test_a_broken_file_changes_nothing(tmp_path: Path, authority: Authority) -> None:
    ours = authority.sign("breaking", Signed(tmp_path / "c.pem", tmp_path / "c.key"))
    async with listening(TlsFiles(ours.certificate, ours.key)) as (endpoint, _):
        ours.certificate.write_text("no certificate")
        assert not await endpoint.renew_tls()
        async with connected_peer("tls", "127.0.0.1", endpoint.tls_port, client(authority)) as peer:
            assert (await Caller(peer).ask("OPTIONS")).status == 200


def test_unchanged_files_are_not_read_again(files: TlsFiles) -> None:
    credentials = Credentials(files)
    server = credentials.server
    assert not credentials.reload()
    assert credentials.server is server


def test_touched_files_are_read_again(files: TlsFiles) -> None:
    credentials = Credentials(files)
    os.utime(files.certificate, (1, 1))
    assert credentials.reload()


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"absent\.pem"):
        Credentials(TlsFiles(tmp_path / "absent.pem", tmp_path / "absent.key"))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - it happens behind a socket
            await asyncio.sleep(0.01)
