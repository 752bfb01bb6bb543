"""Carriers by UDP, TCP and TLS, each with hold and resume (SIPp)."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from voicefork_cli.lab.opensips import OpenSips
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab
from voicefork_cli.sim.phone import AgentPhone

from tests.opensips.conftest import Opening
from tests.opensips.mi import count
from tests.opensips.recorder import Recorder
from tests.opensips.sipp.run import Load, carrier, open_tunnel


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_a_carrier_calls_holds_resumes_and_hangs_up(
    lab: Lab, edge: OpenSips, pbx: AgentPhone, recorder: Recorder, transport: str
) -> None:
    outcome = await carrier(lab, edge.sip, Load(transport=transport), "hold")
    assert (outcome.good, outcome.failed) == (1, 0)
    fork = await recorder.fork()
    async with asyncio.timeout(5):
        await fork.ended.wait()
    call = await pbx.next_call()
    assert [event.text for event in call.events].count("got INVITE") == 2


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A certificate for this host that signs itself, and its key."""
    found = tmp_path / "edge.pem", tmp_path / "edge.key"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=edge", "-addext", f"subjectAltName=IP:{HOST}"]
    argv += ["-out", str(found[0]), "-keyout", str(found[1])]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    return str(found[0]), str(found[1])


async def test_a_carrier_may_use_tls(
    lab: Lab, open_edge: Opening, certificate: tuple[str, str], recorder: Recorder
) -> None:
    tls, (chain, key) = f"{HOST}:{lab.ports.single()}", certificate
    async with (
        open_edge(tls=tls, tls_certificate=chain, tls_key=key),
        open_tunnel(tls, ssl.create_default_context(cafile=chain)) as tunnel,
    ):
        outcome = await carrier(lab, tunnel, Load(transport="t1"), "hold")
        assert (outcome.good, outcome.failed) == (1, 0)
        fork = await recorder.fork()
        async with asyncio.timeout(5):
            await fork.ended.wait()


async def test_tls_without_what_the_carrier_trusts_is_no_call(
    lab: Lab, open_edge: Opening, certificate: tuple[str, str], recorder: Recorder
) -> None:
    port, (chain, key) = lab.ports.single(), certificate
    values = {"tls": f"{HOST}:{port}", "tls_certificate": chain, "tls_key": key}
    async with open_edge(**values) as edge:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(HOST, port, ssl=context)
        assert await count(edge, "voicefork_calls_in") == 0
    assert recorder.forks.empty()
