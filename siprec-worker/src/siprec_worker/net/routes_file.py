"""The file of routes: read again when it changes; one that is wrong changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from siprec_worker.config import Route
from siprec_worker.errors import SetupError
from siprec_worker.telemetry import Metrics

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
MOST_BYTES = 1024 * 1024

# PyYAML's own, and what its constructors raise: of "!!bool x" a KeyError, of "!!int" an IndexError.
_UNREADABLE = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)

Trace = tuple[int, int, int, int]


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    routes: tuple[Route, ...] = ()


def read_routes(path: Path) -> tuple[Route, ...]:
    """`routes:` of a YAML file, in its order. Raises SetupError."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SetupError(f"--routes-file {path}: more than {MOST_BYTES} bytes")
        return _Content.model_validate(yaml.safe_load(content) or {}).routes
    except OSError as error:
        raise SetupError(f"--routes-file {path}: {error.strerror or error}") from error
    except (ValidationError, *_UNREADABLE) as error:
        raise SetupError(f"--routes-file {path}: {error}") from error


class RoutesFile:
    """`take` puts routes in force; it raises SetupError where they cannot be."""

    def __init__(
        self, path: Path, take: Callable[[tuple[Route, ...]], None], metrics: Metrics
    ) -> None:
        self._path = path
        self._take = take
        self._metrics = metrics
        self._trace = self._look()
        self._take(read_routes(path))

    async def watch(self) -> None:
        """Follows the file until cancelled, through symlinks: a ConfigMap's swap is seen.

        It is read once it looks the same twice: who writes in place may finish.
        """
        before = self._trace
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            trace = self._look()
            if trace != self._trace and trace == before:
                self._trace = trace
                await self._reload()
            before = trace

    async def _reload(self) -> None:
        try:
            routes = await asyncio.to_thread(read_routes, self._path)
            self._take(routes)
        except SetupError as error:
            self._refuse(str(error))
        else:
            self._metrics.routes_stale.set(0)
            log.info("routes loaded", routes=[route.name for route in routes])

    def _refuse(self, why: str) -> None:
        self._metrics.routes_stale.set(1)
        log.error("routes not loaded, the old ones stay", error=why)

    def _look(self) -> Trace | None:
        try:
            found = self._path.stat()
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
