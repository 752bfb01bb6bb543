"""What a call's end leaves behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from siprec_worker.protocol.sip.events import DialogId, HungUp
from siprec_worker.session.intake import Intake
from siprec_worker.telemetry import Metrics


class OneCall:
    """A call whose end fails, and where it is looked up."""

    confirmed = True

    def __init__(self) -> None:
        self.removed = False

    def by_dialog(self, _: object) -> OneCall:
        return self

    def end(self, *_: object) -> None:
        raise KeyError("a bug")

    def remove(self, _: object) -> None:
        self.removed = True


def test_a_call_that_fails_at_its_end_is_over_all_the_same() -> None:
    calls: Any = OneCall()
    builder: Any = SimpleNamespace(sockets=None, capabilities=None, host="", metrics=Metrics())
    side: Any = None
    with pytest.raises(KeyError):
        Intake(side, calls, builder).handle(HungUp(DialogId("d"), True, "BYE"), 0.0)
    assert calls.removed
