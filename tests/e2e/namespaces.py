"""A cluster's network, a node that hides its pods, and a PBX outside: network namespaces.

    cluster (this process)          node                               pbx
    10.244.0.2  a pod      ───────  10.244.0.1 │ 198.51.100.1  ──────  198.51.100.10
    192.0.2.5   the edge            NAT: `Networks.route`

The edge has an address of the nodes' network. All of it is gone with the processes; the machine's
own network is not touched. Needs root (CAP_SYS_ADMIN), iproute2, nftables and util-linux.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
from voicefork_cli.lab.ports import END_PORT, FIRST_PORT
from voicefork_cli.lab.processes import Lab, Running

POD, POD_GATEWAY = "10.244.0.2", "10.244.0.1"
PODS = "10.244.0.0/24"
EDGE = "192.0.2.5"
NODE, PBX, ADVERTISED = "198.51.100.1", "198.51.100.10", "198.51.100.20"
CLONE_NEWNET = 0x40000000
PROGRAMS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux"}
_LIBC = ctypes.CDLL(None, use_errno=True)

_OUT = "chain out {{ type nat hook postrouting priority srcnat; {}; }}"
_PASS = "chain pass {{ type filter hook forward priority filter; {}; }}"
_HIDE = f"ip saddr {PODS} oifname pbx masquerade random"
_NOBODY_IN = f"iifname pbx ip daddr {PODS} ct state new drop"
HIDDEN = (_OUT.format(_HIDE), _PASS.format(_NOBODY_IN))
"""Pods leave with the node's address and other ports; nobody outside reaches one."""
NO_MEDIA = (
    _OUT.format(_HIDE),
    _PASS.format(f"{_NOBODY_IN}; ip saddr {PODS} udp sport {FIRST_PORT}-{END_PORT} drop"),
)
"""The same, and what workers send from their RTP ports gets lost."""
MAPPED = (
    _OUT.format(f"ip saddr {PODS} oifname pbx snat to {ADVERTISED}"),
    "chain into { type nat hook prerouting priority dstnat; "
    f"iifname pbx ip daddr {ADVERTISED} dnat to {POD}; }}",
)
"""An address outside is the pod's, with the same ports (NAT 1:1)."""
WITHIN = (
    "table ip within { chain out { type nat hook output priority -100; "
    f"ip daddr {ADVERTISED} dnat to {POD}; }}; }}"
)
"""The same for who is in the cluster."""


@contextmanager
def private_network() -> Iterator[None]:
    """This thread, and all it starts, in a network of its own while the block runs.

    Skips the test where that cannot be had.
    """
    missing = [package for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if missing:
        pytest.skip(f"apt-get install {' '.join(sorted(set(missing)))}")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.unshare(CLONE_NEWNET):
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())} (not root?)")
        try:
            _run("ip", "link", "set", "lo", "up")
            yield
        finally:
            if _LIBC.setns(before, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "the network of before is lost")
    finally:
        os.close(before)


@dataclass(frozen=True, slots=True)
class Namespace:
    """Another network: its programs are started by `lab`."""

    holder: Running

    @property
    def enter(self) -> tuple[str, ...]:
        return "nsenter", f"--net=/proc/{self.holder.pid}/ns/net"

    def run(self, *argv: str, text: str = "") -> None:
        _run(*self.enter, *argv, text=text)


class LabElsewhere(Lab):
    """A lab whose programs run in another network."""

    def __init__(self, lab: Lab, place: Namespace) -> None:
        super().__init__(lab.folder, lab.ports, lab.reaper)
        object.__setattr__(self, "_place", place)

    @asynccontextmanager
    async def program(
        self,
        name: str,
        argv: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        grace_seconds: float = 3.0,
    ) -> AsyncIterator[Running]:
        place: Namespace = self._place  # type: ignore[attr-defined]
        inside = [*place.enter, *argv]
        async with super().program(name, inside, env=env, grace_seconds=grace_seconds) as program:
            yield program


@dataclass(frozen=True, slots=True)
class Networks:
    """Made by `open_networks`. `pbx` starts programs in the PBX's network."""

    node: Namespace
    pbx: Lab

    def route(self, chains: Sequence[str]) -> None:
        """What the node does with packets, from now on."""
        table = "\n".join(("table ip cluster {", *chains, "}"))
        self.node.run("nft", "-f", "-", text=f"flush ruleset\n{table}\n")


@asynccontextmanager
async def open_networks(lab: Lab) -> AsyncIterator[Networks]:
    """Node and PBX beside this process, which is the cluster; call within `private_network`."""
    async with _open_namespace(lab, "node") as node, _open_namespace(lab, "pbx") as pbx:
        _run("ip", "link", "add", "pods", "type", "veth", "peer", "name", "cluster")
        _run("ip", "link", "set", "cluster", "netns", str(node.holder.pid))
        node.run("ip", "link", "add", "pbx", "type", "veth", "peer", "name", "node")
        node.run("ip", "link", "set", "node", "netns", str(pbx.holder.pid))
        for address in (f"{POD}/24", f"{EDGE}/32"):
            _run("ip", "address", "add", address, "dev", "pods")
        _run("ip", "link", "set", "pods", "up")
        _run("ip", "route", "add", "default", "via", POD_GATEWAY)
        _run("nft", "-f", "-", text=WITHIN)
        node.run("ip", "address", "add", f"{POD_GATEWAY}/24", "dev", "cluster")
        for address in (f"{NODE}/24", f"{ADVERTISED}/32"):
            node.run("ip", "address", "add", address, "dev", "pbx")
        for link in ("lo", "cluster", "pbx"):
            node.run("ip", "link", "set", link, "up")
        node.run("ip", "route", "add", f"{EDGE}/32", "dev", "cluster")
        node.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        pbx.run("ip", "address", "add", f"{PBX}/24", "dev", "node")
        for link in ("lo", "node"):
            pbx.run("ip", "link", "set", link, "up")
        pbx.run("ip", "route", "add", "default", "via", NODE)
        yield Networks(node, LabElsewhere(lab, pbx))


@asynccontextmanager
async def _open_namespace(lab: Lab, name: str) -> AsyncIterator[Namespace]:
    async with lab.program(f"network-{name}", ["unshare", "--net", "sleep", "infinity"]) as holder:
        own = os.readlink("/proc/thread-self/ns/net")

        async def apart() -> bool | None:
            there = os.readlink(f"/proc/{holder.pid}/ns/net")
            return there != own or None

        await holder.wait_until(apart, 5)
        yield Namespace(holder)


def _run(*argv: str, text: str = "") -> None:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
