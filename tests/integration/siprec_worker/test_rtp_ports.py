"""Leasing pairs of ports that really are bound."""

from __future__ import annotations

import socket

import pytest
from siprec_worker.errors import SetupError
from siprec_worker.net.rtp_ports import PortsExhausted, RtpPorts

HOST = "127.0.0.1"


def a_range(pairs: int) -> tuple[int, int]:
    """A range of ports that the kernel's own choice lies in, so probably free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        first: int = probe.getsockname()[1]
    first = min(first, 65000) & ~1
    return first, first + 2 * pairs - 1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make(pairs: int, clock: Clock | None = None) -> RtpPorts:
    return RtpPorts(HOST, *a_range(pairs), clock=clock or Clock())


def test_a_pair_is_an_even_port_and_the_one_above() -> None:
    with make(3).lease() as pair:
        assert pair.port % 2 == 0
        assert pair.rtp.getsockname() == (HOST, pair.port)
        assert pair.rtcp.getsockname() == (HOST, pair.port + 1)
        assert not pair.rtp.getblocking()


@pytest.mark.parametrize(("behind", "bound"), [("", "0.0.0.0"), (HOST, HOST), ("::", "0.0.0.0")])
def test_an_address_that_leads_here_by_nat_is_announced_and_not_bound(
    behind: str, bound: str
) -> None:
    with RtpPorts("192.0.2.7", *a_range(3), behind=behind, clock=Clock()).lease() as pair:
        assert pair.host == "192.0.2.7"
        assert pair.rtp.getsockname() == (bound, pair.port)
        assert pair.rtcp.getsockname() == (bound, pair.port + 1)


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(SetupError, match=r"no address here.*--advertise"):
        RtpPorts("no address here", *a_range(1))


def test_an_exhausted_range_says_so() -> None:
    ports = make(1)
    with ports.lease(), pytest.raises(PortsExhausted, match="1 in use"):
        ports.lease()
    assert ports.exhausted == 1


def test_a_released_pair_rests_before_it_is_leased_again() -> None:
    clock = Clock()
    ports = make(1, clock)
    ports.lease().release()
    assert (ports.in_use, ports.free) == (0, 0)
    with pytest.raises(PortsExhausted, match="1 resting"):
        ports.lease()
    clock.now += 2.0
    assert ports.free == 1
    ports.lease().release()


def test_releasing_twice_is_no_error() -> None:
    ports = make(2)
    pair = ports.lease()
    pair.release()
    pair.release()
    assert ports.in_use == 0


def test_a_port_that_somebody_else_holds_is_passed_over() -> None:
    first, last = a_range(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, first + 1))
        ports = RtpPorts(HOST, first, last, clock=Clock())
        with ports.lease() as pair:
            assert pair.port == first + 2
            with pytest.raises(PortsExhausted):
                ports.lease()
        assert ports.bind_failures == 1


def test_a_range_without_a_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="no RTP and RTCP pair"):
        RtpPorts(HOST, 20001, 20002)
