"""Pairs of RTP and RTCP ports of one host, leased to calls (RFC 3550 section 11)."""

from __future__ import annotations

import errno
import random
import socket
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from siprec_worker.errors import SetupError, WorkerError

RECEIVE_BUFFER = 212_992
"""Bytes: about 8 s of G.711 at the kernel's own accounting, for a stalled loop."""
EVERY_ADDRESS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


class PortsExhausted(WorkerError):  # noqa: N818 - named after what happened
    """No pair of the range is free: a new call is answered 503."""


class PortPair:
    """An even port and the odd one above it, both bound, non-blocking."""

    __slots__ = ("_owner", "host", "port", "rtcp", "rtp")

    def __init__(
        self, owner: RtpPorts, host: str, port: int, rtp: socket.socket, rtcp: socket.socket
    ) -> None:
        self._owner: RtpPorts | None = owner
        self.host = host
        self.port = port
        self.rtp = rtp
        self.rtcp = rtcp

    def release(self) -> None:
        """Closes both sockets; the ports rest for the cool-down. Twice is no error."""
        owner, self._owner = self._owner, None
        if owner is not None:
            self.rtp.close()
            self.rtcp.close()
            owner._give_back(self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class RtpPorts:
    """The pairs of ports that lie within `first` to `last` on one host.

    An address that is not this machine's leads here by NAT: the sockets are bound to `behind` then
    (left out, or of the other IP version: every address), and pairs have that one all the same. A
    released pair rests `cool_down` seconds, so that late packets of one call never reach the next.
    The order of leasing is shuffled: a restarted worker does not begin where it stopped.
    """

    def __init__(  # noqa: PLR0913
        self,
        host: str,
        first: int,
        last: int,
        *,
        behind: str = "",
        cool_down: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ValueError when the range holds no pair."""
        ports = list(range(first + first % 2, last, 2))
        if not ports:
            raise ValueError(f"no RTP and RTCP pair in ports {first}-{last}")
        random.shuffle(ports)
        self.host = host
        self._family = _family_of(host)
        nat = behind if _family_of(behind) is self._family else ""
        nat = nat or EVERY_ADDRESS[self._family]
        self._bound = host if _is_ours(host, self._family) else nat
        self._range = f"{first}-{last}"
        self._fresh: deque[int] = deque(ports)
        self._resting: deque[tuple[float, int]] = deque()  # (free again at, port)
        self._cool_down = cool_down
        self._clock = clock
        self.in_use = 0
        self.exhausted = 0  # refusals
        self.bind_failures = 0  # ports somebody else held

    @property
    def free(self) -> int:
        """Pairs that could be leased now."""
        self._wake()
        return len(self._fresh)

    def lease(self) -> PortPair:
        """Binds a pair. Raises PortsExhausted when none is free."""
        self._wake()
        for _ in range(len(self._fresh)):
            port = self._fresh.popleft()
            pair = self._bind(port)
            if pair is not None:
                self.in_use += 1
                return pair
            self.bind_failures += 1
            self._rest(port)
        self.exhausted += 1
        raise PortsExhausted(
            f"no RTP port pair of {self.host} {self._range} is free "
            f"({self.in_use} in use, {len(self._resting)} resting)"
        )

    def _bind(self, port: int) -> PortPair | None:
        sockets: list[socket.socket] = []
        for number in (port, port + 1):
            sock = socket.socket(self._family, socket.SOCK_DGRAM)
            sockets.append(sock)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                sock.bind((self._bound, number))
            except OSError:
                for opened in sockets:
                    opened.close()
                return None
        return PortPair(self, self.host, port, sockets[0], sockets[1])

    def _give_back(self, port: int) -> None:
        self.in_use -= 1
        self._rest(port)

    def _rest(self, port: int) -> None:
        self._resting.append((self._clock() + self._cool_down, port))

    def _wake(self) -> None:
        now = self._clock()
        while self._resting and self._resting[0][0] <= now:
            self._fresh.append(self._resting.popleft()[1])


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_ours(host: str, family: socket.AddressFamily) -> bool:
    """Raises SetupError: it is no address at all."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise SetupError(f"RTP cannot come to {host!r} (--advertise): {error}") from error
            return False
    return True
