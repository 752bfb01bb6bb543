"""The routes in force: read again when their file changes; a bad file changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from orchestrator.config import Settings
from orchestrator.errors import SetupError
from orchestrator.handoff.cancellation import heed_cancellation
from orchestrator.routing.parsing import default_table, parse_table
from orchestrator.routing.reading import MOST_BYTES
from orchestrator.routing.table import RoutingTable
from orchestrator.routing.targets import parse_target
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 0.5

Trace = tuple[int, int, int, int]


class Routes:
    """`table` is replaced in one step; whoever decides takes it once per decision."""

    def __init__(
        self,
        usual: RoutingTable,
        path: Path | None,
        metrics: Metrics,
        *,
        without_stasis: bool = False,
    ) -> None:
        """`without_stasis`: as of parse_table."""
        self.table = usual
        self._without_stasis = without_stasis
        self._usual = usual
        self._path = path
        self._metrics = metrics
        self._digest = ""
        self._loaded_at: datetime | None = None
        self._error = ""
        self._trace: Trace | None = None  # of the content that was read last, good or bad
        self._asked = asyncio.Event()

    def load(self) -> None:
        """The first time. Raises SetupError: the file cannot be read, or is wrong."""
        if self._path is None:
            return
        self._trace = self._look()
        self._take(self._read())

    async def reload(self) -> bool:
        """Whether the file's content is in force now. Never raises but CancelledError."""
        try:
            table = await asyncio.to_thread(self._read)
        except SetupError as error:
            self._refuse(str(error))
            return False
        self._take(table)
        log.info("routes loaded", file=str(self._path), digest=self._digest)
        return True

    async def watch(self) -> None:
        """Follows the file until cancelled, by looking, and by SIGHUP.

        A look goes through symlinks, so that a ConfigMap's swap is seen. A file is read once it
        looks the same twice: who writes it in place is given the time to finish.
        """
        if self._path is None:
            return
        with _on_hangup(self._asked):
            before = self._trace
            while True:
                heed_cancellation()
                asked = await self._pause()
                trace = self._look()
                if asked or (trace != self._trace and trace == before):
                    self._trace = trace
                    await self.reload()
                before = trace

    def report(self) -> dict[str, object]:
        """For the admin page."""
        return {
            "file": str(self._path) if self._path else None,
            "digest": self._digest,
            "loaded_at": self._loaded_at.isoformat() if self._loaded_at else None,
            "error": self._error or None,
            "rules": [rule.name for rule in self.table.rules],
            "tenants": sorted(self.table.tenants),
        }

    async def _pause(self) -> bool:
        """Whether somebody asked, before it was time to look."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    def _look(self) -> Trace | None:
        assert self._path is not None
        try:
            found = self._path.stat()
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> tuple[RoutingTable, str]:
        assert self._path is not None
        try:
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise SetupError(f"--routing {self._path}: {error.strerror or error}") from error
        try:
            table = parse_table(content, self._usual, without_stasis=self._without_stasis)
        except SetupError as error:
            raise SetupError(f"--routing {self._path}:\n{error}") from error
        return table, hashlib.sha256(content).hexdigest()[:12]

    def _take(self, read: tuple[RoutingTable, str]) -> None:
        self.table, self._digest = read
        self._loaded_at, self._error = datetime.now(UTC), ""
        self._metrics.routes_loaded.labels("ok").inc()
        self._metrics.routes_stale.set(0)

    def _refuse(self, why: str) -> None:
        self._error = why
        self._metrics.routes_loaded.labels("refused").inc()
        self._metrics.routes_stale.set(1)
        log.error("routes not loaded, the old ones stay", error=why, digest=self._digest)


def open_routes(settings: Settings, metrics: Metrics) -> Routes:
    """The routes as the settings have them, loaded. Raises SetupError."""
    try:
        targets = (parse_target(settings.target),) if settings.target else ()
    except ValueError as error:
        raise SetupError(f"--target: {error}") from error
    usual = default_table(
        targets,
        queue=settings.queue_extension,
        queue_context=settings.queue_context,
        music=settings.music_class,
    )
    ami = bool(settings.ami_nodes)
    routes = Routes(usual, settings.routing, metrics, without_stasis=ami)
    routes.load()
    return routes


@contextmanager
def _on_hangup(asked: asyncio.Event) -> Iterator[None]:
    """SIGHUP sets the event. Signals belong to the main thread; elsewhere looking must do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
