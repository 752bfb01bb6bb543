"""The cluster's API by kubernetes_asyncio: slices, pods' costs, the Lease.

Imported only where it is used: the library takes seconds and 75 MB. Its own Watch is not used, as
it goes on after a 410 with the version that was refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes_asyncio import client
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config.config_exception import ConfigException
from kubernetes_asyncio.config.incluster_config import load_incluster_config

from orchestrator.cluster.leading import LeaseRecord
from orchestrator.cluster.slices import MAX_SLICES, Change, Listing, parse_slice
from orchestrator.errors import ClusterConflict, ClusterError, ClusterExpired

LIMIT_SECONDS = 5.0
COST = "controller.kubernetes.io/pod-deletion-cost"
SERVICE_LABEL = "kubernetes.io/service-name"
_TRUE: Any = "true"  # a bool would be written "True"


class KubernetesApi:
    """Implements SliceSource, CostWriter and LeaseStore. Every method raises ClusterError."""

    def __init__(self, api: client.ApiClient, namespace: str, service: str, lease: str) -> None:
        self._slices = client.DiscoveryV1Api(api)
        self._pods = client.CoreV1Api(api)
        self._leases = client.CoordinationV1Api(api)
        self._namespace = namespace
        self._selector = f"{SERVICE_LABEL}={service}"
        self._lease = lease

    async def list_slices(self) -> Listing:
        async with _told():
            asked: Awaitable[Any] = self._slices.list_namespaced_endpoint_slice(
                self._namespace,
                label_selector=self._selector,
                limit=MAX_SLICES,
                _preload_content=False,
                _request_timeout=LIMIT_SECONDS,
            )
            response = await asked
            async with response:
                _check(response.status, response.reason)
                found = json.loads(await response.read())
            version = str(found["metadata"].get("resourceVersion", ""))
            return Listing(version, tuple(map(parse_slice, found["items"])))

    async def watch_slices(self, version: str, seconds: float) -> AsyncIterator[Change]:
        async with _told():
            asked: Awaitable[Any] = self._slices.list_namespaced_endpoint_slice(
                self._namespace,
                label_selector=self._selector,
                watch=_TRUE,
                resource_version=version,
                timeout_seconds=round(seconds),
                _preload_content=False,
                # A connection that has died without a word is noticed soon after the end.
                _request_timeout=(LIMIT_SECONDS, seconds + LIMIT_SECONDS),
            )
            async with asyncio.timeout(seconds + 2 * LIMIT_SECONDS), await asked as response:
                _check(response.status, response.reason)
                async for line in response.content:
                    if line.strip():
                        yield _change(json.loads(line))

    async def write_cost(self, pod: str, cost: int) -> None:
        patch = {"metadata": {"annotations": {COST: str(cost)}}}
        async with _told():
            await self._pods.patch_namespaced_pod(
                pod, self._namespace, patch, _request_timeout=LIMIT_SECONDS
            )

    async def read_lease(self) -> LeaseRecord | None:
        try:
            async with _told():
                found = await self._leases.read_namespaced_lease(
                    self._lease, self._namespace, _request_timeout=LIMIT_SECONDS
                )
        except ClusterError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        spec = found.spec
        return LeaseRecord(
            spec.holder_identity or "",
            spec.lease_duration_seconds or 0,
            spec.lease_transitions or 0,
            found.metadata.resource_version or "",
        )

    async def write_lease(self, record: LeaseRecord) -> None:
        body: Any = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._lease, "namespace": self._namespace},
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.seconds,
                "leaseTransitions": record.transitions,
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        async with _told():
            if not record.version:
                await self._leases.create_namespaced_lease(
                    self._namespace, body, _request_timeout=LIMIT_SECONDS
                )
                return
            body["metadata"] |= {"resourceVersion": record.version}
            await self._leases.replace_namespaced_lease(
                self._lease, self._namespace, body, _request_timeout=LIMIT_SECONDS
            )


@asynccontextmanager
async def open_kubernetes(
    namespace: str, service: str, lease: str, url: str = ""
) -> AsyncIterator[KubernetesApi]:
    """From within a pod, by its service account; `url`: another API, without authentication.

    Raises ClusterError: there is no service account.
    """
    configuration = client.Configuration()
    if url:
        configuration.host = url
    else:
        try:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as error:
            raise ClusterError(f"no service account: {error}") from error
    async with client.ApiClient(configuration) as api:
        yield KubernetesApi(api, namespace, service, lease)


def _change(event: Any) -> Change:
    """One line of a watch. Raises ClusterError, ClusterExpired."""
    if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
        raise ClusterError("an event of a watch that cannot be read")
    found = event["object"]
    if event.get("type") == "ERROR":
        _check(int(found.get("code", 500)), str(found.get("message", "")))
    return Change(parse_slice(found), gone=event.get("type") == "DELETED")


def _check(status: int, text: str | None) -> None:
    if status == HTTPStatus.GONE:
        raise ClusterExpired(f"{status} {text}", status)
    if status == HTTPStatus.CONFLICT:
        raise ClusterConflict(f"{status} {text}", status)
    if status != HTTPStatus.OK:
        raise ClusterError(f"{status} {text}", status)


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What the library, the connection or the answer's form may raise, as ClusterError."""
    try:
        yield
    except ApiException as error:
        _check(int(error.status or 0), error.reason)
        raise ClusterError(str(error)) from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ClusterError(f"{type(error).__name__} {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterError(f"an answer that cannot be read: {error}") from error
