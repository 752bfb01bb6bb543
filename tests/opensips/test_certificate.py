"""The edge's certificate is renewed while it runs: new callers see it, calls know nothing of it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import rotate
from edge_values import checked
from render import HERE, given_by, tables
from voicefork_cli.lab.opensips import OpenSips, find_opensips, release_of
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab, Running
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.builders.certificates import Authority, Signed
from tests.opensips.conftest import Opening
from tests.opensips.recorder import Recorder
from tests.opensips.tls_caller import open_tls_caller, shown_at

# With "nat" what goes to the caller takes the connection on which the caller came.
TRUNK = {"name": "carrier", "sources": ["127.0.0.1"], "nat": True}
SECONDS = 10.0


class Site:
    """An edge by TLS, with the certificates that it may be given."""

    def __init__(self, edge: OpenSips, tls: str, authority: Authority, files: Signed) -> None:
        self.edge = edge
        self.tls = tls
        self.files = files
        self.authority = authority
        self.trusts = ssl.create_default_context(cafile=authority.certificate)
        folder = edge.home.config.parent
        self.rotate = [HERE / "rotate.py", folder / "values.json", folder]

    async def shown(self) -> str:
        return await shown_at(self.tls, self.trusts)

    def put(self, signed: Signed) -> None:
        shutil.copy(signed.certificate, self.files.certificate)
        shutil.copy(signed.key, self.files.key)

    async def rotated(self) -> tuple[int, str]:
        """Exit code and words of rotate.py."""
        argv = [sys.executable, *map(str, self.rotate)]
        asked = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(SECONDS):
            _, words = await asked.communicate()
        return asked.returncode or 0, words.decode()

    def watching(self, lab: Lab) -> AbstractAsyncContextManager[Running]:
        script, *arguments = self.rotate
        return lab.program("rotate", [sys.executable, script, "--every", "0.1", *arguments])


@pytest.fixture
async def site(lab: Lab, open_edge: Opening, tmp_path: Path) -> AsyncIterator[Site]:
    if release_of(find_opensips()[0]) == "4.0":
        pytest.skip("OpenSIPS 4.0.1 aborts at tls_reload")
    authority = Authority(tmp_path)
    files = authority.sign("old")
    tls = f"{HOST}:{lab.ports.single()}"
    values = {"tls_certificate": str(files.certificate), "tls_key": str(files.key)}
    async with open_edge(tls=tls, tls_reload=True, trunks=[TRUNK], **values) as edge:
        yield Site(edge, tls, authority, files)


async def test_callers_see_the_new_certificate_and_calls_go_on(
    lab: Lab, site: Site, pbx: AgentPhone, recorder: Recorder
) -> None:
    async with site.watching(lab) as watching, open_tls_caller(site.tls, site.trusts) as caller:
        await caller.dial(f"sip:901@{site.tls};transport=tls", Tone(440))
        call, fork = await pbx.next_call(), await recorder.fork()
        assert caller.shown == "old"
        async with asyncio.timeout(SECONDS):  # its first look is at the old one
            while "SHA-256" not in watching.log_text():  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.1)

        site.put(site.authority.sign("new"))
        async with asyncio.timeout(SECONDS):
            while await site.shown() != "new":  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.1)

        await caller.hold()
        await caller.resume()
        assert [event.text for event in call.events].count("got INVITE") == 2
        assert not fork.ended.is_set()
        await call.hang_up()
        async with asyncio.timeout(SECONDS):
            await caller.ended.wait()
            await fork.ended.wait()
        async with open_tls_caller(site.tls, site.trusts) as next_caller:
            await next_caller.dial(f"sip:901@{site.tls};transport=tls", Tone(440))
            assert next_caller.shown == "new"
        assert watching.log_text().count("SHA-256") == 2  # at its start, and for the new one


async def test_a_key_of_another_certificate_changes_nothing_and_is_told(site: Site) -> None:
    other = site.authority.sign("other")
    shutil.copy(other.certificate, site.files.certificate)

    code, words = await site.rotated()

    assert code == 1
    assert "the certificate of before stays" in words
    assert "key values mismatch" in words
    assert str(site.files.key) in words
    assert await site.shown() == "old"


async def test_what_opensips_does_not_take_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves such a domain out and says OK: without the look afterwards TLS would be over."""
    other = site.authority.sign("other")
    _, values, folder = (str(part) for part in site.rotate)
    rotation = rotate.Rotation(
        checked({"folder": folder, **given_by([values, folder])}), Path(folder)
    )
    key = "\\n".join(site.files.key.read_text().splitlines())
    theirs = "\\n".join(other.key.read_text().splitlines())

    def unchecked(values: dict[str, Any]) -> dict[str, str]:
        return {"tls_mgm": tables(values)["tls_mgm"].replace(key, theirs)}

    monkeypatch.setattr(rotate, "tables", unchecked)
    for _ in range(2):
        with pytest.raises(rotate.RefusedError, match="did not take it"):
            await asyncio.to_thread(rotation.once)
        assert await site.shown() == "old"
    monkeypatch.setattr(rotate, "tables", tables)
    assert await asyncio.to_thread(rotation.once)
    assert await site.shown() == "old"
