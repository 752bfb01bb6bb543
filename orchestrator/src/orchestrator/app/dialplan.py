"""The places of the dialplan that callers may be sent to: whether each node has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import structlog

from orchestrator.errors import SetupError
from orchestrator.model import DialplanEntry
from orchestrator.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

VERIFY_SECONDS = 10.0

ARI, AMI = "ARI", "AMI"

Exists = Callable[[Sequence[DialplanEntry]], Awaitable[Sequence[bool | None]]]
"""Of each place whether a node has it; None = the node cannot say. Raises PbxError."""


class Dialplan:
    """What has been asked of the nodes so far. `entries`: where callers may be sent just now."""

    def __init__(
        self,
        entries: Callable[[], Sequence[DialplanEntry]],
        metrics: Metrics,
        awaited: Collection[str] = (ARI,),
    ) -> None:
        """`awaited`: by what means a node must have been asked before all is said to be well."""
        self._entries = entries
        self._metrics = metrics
        self._awaited = set(awaited)
        self._looked = asyncio.Event()
        # By node and means.
        self._found: dict[tuple[str, str], frozenset[DialplanEntry]] = {}
        self._missing: dict[tuple[str, str], tuple[DialplanEntry, ...]] = {}

    async def look(
        self, node: str, by: str, exists: Exists, besides: Sequence[DialplanEntry] = ()
    ) -> None:
        """Asks a node again, after each connect. `besides`: what only this one needs.

        Raises PbxError.
        """
        entries = tuple(dict.fromkeys((*self._entries(), *besides)))
        answers = dict(zip(entries, await exists(entries), strict=True))
        self._found[node, by] = frozenset(entry for entry in entries if answers[entry])
        missing = tuple(entry for entry in entries if answers[entry] is False)
        self._missing[node, by] = missing
        for entry in missing:
            self._metrics.count("dialplan_places_missing")
            log.error(
                "the dialplan lacks a place",
                node=node,
                context=entry.context,
                extension=entry.extension,
            )
        if None in answers.values():
            log.warning("whether the dialplan holds its places cannot be asked", node=node)
        self._awaited.discard(by)
        if not self._awaited:
            self._looked.set()

    def has(self, node: str, entry: DialplanEntry) -> bool:
        """Whether that is known; what is not is asked for before a caller is sent there."""
        return any(entry in self._found.get((node, by), ()) for by in (ARI, AMI))

    async def verify(self) -> None:
        """At the start: waits until a node was asked. Raises SetupError: a place is missing.

        Of other nodes what is known by then counts.
        """
        try:
            async with asyncio.timeout(VERIFY_SECONDS):
                await self._looked.wait()
        except TimeoutError:
            why = f"no answer by {' and '.join(sorted(self._awaited))}"
            log.warning("whether the dialplan holds its places is not known yet", why=why)
        for (node, _), entries in self._missing.items():
            if entries:
                named = ", ".join(f"{entry.extension}@{entry.context}" for entry in entries)
                raise SetupError(
                    f"{node}: the dialplan lacks {named}: callers sent there would be cut off"
                )
