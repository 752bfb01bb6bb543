"""HTTP/2 connections of the h2 connector over real sockets: how many, TLS, and bad servers."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from siprec_worker.errors import SetupError
from siprec_worker.session import model as m
from siprec_worker.sinks.catalogue import connector_for
from siprec_worker.sinks.grpc_aio import GrpcAioConnector
from siprec_worker.sinks.h2_connector import H2Connector
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.resuming import Resuming
from siprec_worker.sinks.target import Target, client_context

from tests.builders.certificates import Authority
from tests.fakes.agent_server import Script, agent_server
from tests.integration.siprec_worker.sink_calls import (
    CHUNK,
    PATIENT,
    Session,
    chunk,
    connected,
    eventually,
    goodbye,
    opening,
    ticking,
)

# Whom the first try does not reach is told so at once: the next one would come after the opening.
NO_SECOND_TRY = AgentOptions(
    connect_seconds=15, opening_seconds=20, backoff_seconds=60, backoff_max_seconds=60
)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@asynccontextmanager
async def tcp_server(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that is no gRPC server; its port."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)  # type: ignore[arg-type]
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def h2_connector(
    port: int, options: AgentOptions, tls: ssl.SSLContext | None = None
) -> AsyncIterator[H2Connector]:
    target = Target("localhost" if tls else "127.0.0.1", port, tls is not None)
    connector = H2Connector(target, options, (lambda: tls) if tls else None)
    async with ticking(connector):
        yield connector


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Key and self-signed certificate of localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(chain)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return key, chain


async def test_a_hundred_calls_take_a_second_connection_and_all_arrive() -> None:
    # grpcio's server enlarges its connection window at once, so up to four times as many fit.
    options = replace(PATIENT, calls_per_connection=20)
    async with (
        agent_server(Script(ack_every=5)) as server,
        connected("grpc", server, options) as agent,
    ):
        assert isinstance(agent, Resuming)
        sender = agent.inner
        assert isinstance(sender, H2Connector)
        sessions = [Session() for _ in range(100)]
        streams = [agent.connect(opening(f"c{n}"), it) for n, it in enumerate(sessions)]
        for session in sessions:
            await session.opened()
        assert sender.connections >= 2
        for number in range(20):
            for salt, stream in enumerate(streams):
                stream.send_audio(number * CHUNK, chunk(number, salt))
            await asyncio.sleep(0.02)
        for stream in streams:
            goodbye(stream)
        for call in server.calls:
            await call.ended.wait()
        assert max(Counter(call.peer for call in server.calls).values()) <= 80
        assert sender.counters.shed_ms == 0
    for salt in range(100):
        call = server.call(f"c{salt}")
        sent = [[leg.data for leg in chunk(number, salt)] for number in range(20)]
        assert [[leg.data for leg in one.legs] for one in call.audio] == sent


async def test_a_server_that_allows_few_streams_gets_more_connections() -> None:
    limit = (("grpc.max_concurrent_streams", 5),)
    async with agent_server(options=limit) as server, connected("grpc", server) as agent:
        sessions = [Session() for _ in range(20)]
        for number, session in enumerate(sessions):
            agent.connect(opening(f"c{number}"), session)
        for session in sessions:
            await session.opened()
    assert len({call.peer for call in server.calls}) >= 4


async def test_an_ended_call_makes_room_on_its_connection() -> None:
    async with agent_server() as server, connected("grpc", server) as agent:
        for number in range(5):
            session = Session()
            stream = agent.connect(opening(f"c{number}"), session)
            await session.opened()
            goodbye(stream)
            await eventually(lambda: all(call.ended.is_set() for call in server.calls))
        assert len({call.peer for call in server.calls}) == 1


async def test_tls_with_a_certificate_of_the_own_ca(certificate: tuple[Path, Path]) -> None:
    options = AgentOptions(ca_file=certificate[1])
    async with (
        agent_server(Script(echo=True), tls=certificate) as server,
        h2_connector(server.port, options, client_context(options)) as agent,
    ):
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        stream.send_audio(0, chunk(0))
        await session.until(lambda heard: len(heard) == 3)


@pytest.mark.parametrize("shown", [True, False], ids=["shown", "not shown"])
async def test_an_agent_may_ask_for_our_certificate(
    certificate: tuple[Path, Path], shown: bool
) -> None:
    key, chain = certificate
    options = replace(NO_SECOND_TRY, ca_file=chain)
    if shown:
        options = replace(options, certificate_file=chain, key_file=key)
    async with (
        agent_server(tls=certificate, client_ca=chain) as server,
        h2_connector(server.port, options, client_context(options)) as agent,
    ):
        session = Session()
        agent.connect(opening(), session)
        await session.until(bool)
    assert isinstance(session.heard[0], m.Opened if shown else m.AgentLost)


@pytest.mark.parametrize("scheme", ["grpcs", "grpcs+aio"])
async def test_a_certificate_that_was_replaced_is_shown_to_the_agent_from_then_on(
    tmp_path: Path, scheme: str
) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server_pair, ours = authority.sign("agent"), stranger.sign("worker")
    options = AgentOptions(
        ca_file=authority.certificate,
        certificate_file=ours.certificate,
        key_file=ours.key,
        opening_seconds=0.9,  # that one is refused takes as long
    )
    async with agent_server(
        tls=(server_pair.key, server_pair.certificate), client_ca=authority.certificate
    ) as server:
        connector = connector_for(f"{scheme}://localhost:{server.port}", options)
        async with ticking(connector):
            refused, taken = Session(), Session()
            connector.connect(opening("c1"), refused)
            await refused.lost()
            authority.sign("worker", into=ours)
            connector.connect(opening("c2"), taken)
            await taken.until(bool)
            while not isinstance(taken.heard[-1], m.Opened):  # not in time: the machine is slow
                taken = Session()
                connector.connect(opening("again"), taken)
                await taken.until(bool)


@pytest.mark.parametrize("scheme", ["grpcs", "grpcs+aio"])
def test_a_certificate_with_anothers_key_is_named(scheme: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, other = authority.sign("ours"), authority.sign("other")
    options = AgentOptions(
        ca_file=authority.certificate, certificate_file=ours.certificate, key_file=other.key
    )
    with pytest.raises(SetupError, match=r"other\.key"):
        connector_for(f"{scheme}://ai.example:443", options)


async def test_a_channel_of_a_certificate_before_is_closed_with_its_last_call(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    pair, ours = authority.sign("agent"), authority.sign("worker")
    options = AgentOptions(
        ca_file=authority.certificate,
        certificate_file=ours.certificate,
        key_file=ours.key,
        opening_seconds=20,
    )
    async with agent_server(tls=(pair.key, pair.certificate)) as server:
        target = Target("localhost", server.port, tls=True)
        connector = GrpcAioConnector(target, options)
        async with ticking(connector):
            before, after = Session(), Session()
            stream = connector.connect(opening("c1"), before)
            await before.opened()
            authority.sign("worker", into=ours)
            connector.connect(opening("c2"), after)
            await after.opened()
            assert connector.channels == 2
            stream.abandon()
            await eventually(lambda: connector.channels == 1)
            assert [type(message) for message in after.heard] == [m.Opened]


async def test_a_certificate_that_is_not_trusted_is_told(certificate: tuple[Path, Path]) -> None:
    async with (
        agent_server(tls=certificate) as server,
        h2_connector(server.port, NO_SECOND_TRY, client_context(NO_SECOND_TRY)) as agent,
    ):
        session = Session()
        agent.connect(opening(), session)
        lost = await session.lost()
    assert "CERTIFICATE_VERIFY_FAILED" in lost.reason


async def test_tls_without_http2_is_told(certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    options = replace(NO_SECOND_TRY, ca_file=certificate[1])
    async with (
        tcp_server(lambda _, writer: writer.close(), context) as port,
        h2_connector(port, options, client_context(options)) as agent,
    ):
        session = Session()
        agent.connect(opening(), session)
        lost = await session.lost()
    assert "does not speak HTTP/2" in lost.reason


async def test_a_server_that_says_nothing_is_given_up_within_the_limits() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    options = replace(NO_SECOND_TRY, connect_seconds=0.2)
    async with tcp_server(silence) as port, h2_connector(port, options) as agent:
        session = Session()
        agent.connect(opening(), session)
        lost = await session.lost()
    assert lost == m.AgentLost("cannot reach the AI: no HTTP/2 connection within 0.2 s")


async def test_during_a_back_off_a_call_that_cannot_wait_is_told_at_once() -> None:
    async with tcp_server(lambda _, writer: writer.close()) as port:
        pass  # nobody listens there any more
    async with h2_connector(port, NO_SECOND_TRY) as agent:
        first, second = Session(), Session()
        agent.connect(opening("first"), first)
        await first.lost()
        agent.connect(opening("second"), second)
        assert second.heard == []  # not before the session has its stream
        lost = await second.lost()
    assert "cannot reach the AI" in lost.reason


async def test_a_connection_without_calls_is_closed_after_a_while() -> None:
    options = AgentOptions(idle_seconds=0.05)
    async with agent_server() as server, h2_connector(server.port, options) as agent:
        session = Session()
        stream = agent.connect(opening(), session)
        await session.opened()
        goodbye(stream)
        await eventually(lambda: agent.connections == 0)
        again = Session()
        agent.connect(opening("again"), again)
        await again.opened()


async def test_aclose_ends_living_calls_and_tells_their_sessions() -> None:
    async with agent_server() as server:
        async with connected("grpc", server) as agent:
            session = Session()
            agent.connect(opening(), session)
            await session.opened()
        assert await session.lost() == m.AgentLost("the worker is shutting down", retryable=False)
        await eventually(server.calls[0].ended.is_set)
