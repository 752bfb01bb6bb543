"""EndpointSlices of the workers' Service: which pods are ready, serving or ending.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import ClusterError

MAX_SLICES = 500  # of 100 pods each, as the cluster makes them


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod as the cluster sees it. `serving` stays true while a pod that ends still answers."""

    pod: str
    ready: bool
    serving: bool
    terminating: bool


@dataclass(frozen=True, slots=True)
class Slice:
    """One EndpointSlice; a Service may have several, and a pod be in two of them."""

    name: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """All slices at one `version` of the cluster's store, from which a watch goes on."""

    version: str
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch."""

    slice: Slice
    gone: bool


def parse_slice(found: object) -> Slice:
    """An EndpointSlice out of JSON. Raises ClusterError: it is none."""
    try:
        assert isinstance(found, Mapping)
        endpoints = found.get("endpoints") or ()
        read = (_endpoint(each) for each in endpoints)
        return Slice(str(found["metadata"]["name"]), tuple(each for each in read if each))
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise ClusterError("an EndpointSlice that cannot be read") from error


def _endpoint(found: Mapping[str, Any]) -> Endpoint | None:
    """None: no pod stands behind it. Conditions that are not told default as the API says."""
    target = found.get("targetRef") or {}
    if target.get("kind") != "Pod":
        return None
    conditions = found.get("conditions") or {}
    told = {name: conditions.get(name) for name in ("ready", "serving", "terminating")}
    ready = told["ready"] is not False
    serving = ready if told["serving"] is None else bool(told["serving"])
    return Endpoint(str(target["name"]), ready, serving, bool(told["terminating"]))


def merged(slices: Iterable[Slice]) -> Mapping[str, Endpoint]:
    """Pod -> what is known of it; of two slices (two address families, a move) the better word."""
    pods: dict[str, Endpoint] = {}
    for each in slices:
        for found in each.endpoints:
            known = pods.get(found.pod)
            pods[found.pod] = found if known is None else _both(known, found)
    return pods


def _both(one: Endpoint, other: Endpoint) -> Endpoint:
    return Endpoint(
        one.pod,
        ready=one.ready or other.ready,
        serving=one.serving or other.serving,
        terminating=one.terminating or other.terminating,
    )
