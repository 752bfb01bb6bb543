"""A PostgreSQL server of our own on loopback, with the tables of OpenSIPS in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from voicefork_cli.lab.opensips import find_opensips
from voicefork_cli.lab.ports import HOST
from voicefork_cli.lab.processes import Lab

from tests.opensips.tables import COLUMNS, VERSIONS

READY_SECONDS = 15.0
USER = "postgres"  # Debian's; the server refuses to run as root
TYPES = {" blob": " bytea", "integer primary key autoincrement": "serial primary key"}


def find_postgres() -> Path:
    """The folder of the server's programs. Skips the test where it, or OpenSIPS' module, is not."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    if not (find_opensips()[1] / "db_postgres.so").is_file():
        pytest.skip("OpenSIPS was built without db_postgres")
    return found[-1].parent


def sql() -> str:
    """What makes the tables, as PostgreSQL says it."""
    lines = [f"create table {name} ({columns});" for name, columns in COLUMNS.items()]
    lines += [f"insert into version values ('{name}', {v});" for name, v in VERSIONS.items()]
    text = "\n".join(lines)
    for ours, theirs in TYPES.items():
        text = text.replace(ours, theirs)
    return text


@asynccontextmanager
async def open_postgres(lab: Lab) -> AsyncIterator[str]:
    """Runs a server while the block runs; gives the database's URL for OpenSIPS."""
    programs, port = find_postgres(), lab.ports.single()
    folder = Path(tempfile.mkdtemp(prefix="voicefork-postgres-"))  # the lab's is ours alone
    as_user: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, USER)
        as_user = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"]
        as_user += ["--pdeathsig", "TERM", "--"]
    try:
        make = [*as_user, programs / "initdb", "-D", folder / "data", "-A", "trust", "-U", USER]
        async with lab.program("initdb", make) as initdb:
            assert await initdb.wait() == 0, initdb.log_tail()
        serve = [*as_user, programs / "postgres", "-D", folder / "data", "-h", HOST, "-p", port]
        async with lab.program("postgres", [*serve, "-k", folder, "-F"]) as server:

            async def answers() -> bool | None:
                return await _psql(programs, port, "select 1") == 0 or None

            await server.wait_until(answers, READY_SECONDS)
            assert await _psql(programs, port, sql()) == 0, server.log_tail()
            yield f"postgres://{USER}:none@{HOST}:{port}/{USER}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _psql(programs: Path, port: int, text: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *(programs / "psql", "-q", "-h", HOST, "-p", str(port), "-U", USER, "-d", USER),
        *("-v", "ON_ERROR_STOP=1", "-c", text),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()
