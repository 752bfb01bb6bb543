"""When one more call is taken."""

from __future__ import annotations

import pytest
from siprec_worker.net.admission import Admission, Limits
from siprec_worker.net.rtp_ports import RtpPorts

INTERVAL = 0.02


def ports_with(free: int) -> RtpPorts:
    """A range of so many pairs; none is bound."""
    return RtpPorts("127.0.0.1", 30000, 30000 + 2 * free)


class Scene:
    def __init__(self, *, calls: int = 0, free: int = 100) -> None:
        self.calls = calls
        limits = Limits(calls=10, lag=0.060)
        self.admission = Admission(limits, INTERVAL, ports_with(free), lambda: self.calls)
        self.now = 0.0

    def ticks(self, count: int, late: float = 0.0) -> None:
        for _ in range(count):
            self.now += INTERVAL + late
            self.admission.on_tick(self.now)


def test_a_worker_with_room_takes_a_call() -> None:
    scene = Scene(calls=9, free=3)
    scene.ticks(100)
    assert scene.admission.admits()
    assert scene.admission.obstacle == ""


@pytest.mark.parametrize(
    ("scene", "why"),
    [(Scene(calls=10), "10 calls"), (Scene(free=2), "2 RTP port pairs are free")],
)
def test_a_worker_without_room_says_what_is_full(scene: Scene, why: str) -> None:
    assert not scene.admission.admits()
    assert scene.admission.obstacle == why


def test_draining_refuses_whatever_room_there_is() -> None:
    scene = Scene()
    scene.admission.draining = True
    assert scene.admission.obstacle == "draining"


@pytest.mark.parametrize("late", [0.2, 2.0])
def test_one_stall_is_no_overload(late: float) -> None:
    scene = Scene()
    scene.ticks(10)
    scene.ticks(1, late=late)
    assert scene.admission.admits()


def test_ticks_that_stay_late_are_and_it_passes() -> None:
    scene = Scene()
    scene.ticks(20, late=0.1)
    assert "late" in scene.admission.obstacle
    scene.ticks(10)
    assert scene.admission.admits()
