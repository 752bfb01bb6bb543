"""Handoffs in virtual time: two seconds of witness take none."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.builders.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualTimeLoop]]:
    return {"virtual": VirtualTimeLoop}
