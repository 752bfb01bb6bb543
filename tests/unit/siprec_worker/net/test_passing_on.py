"""What is asked of a call that has moved: who answers it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
from siprec_worker.net import passing_on
from siprec_worker.net.passing_on import PASSED_ON, PassingOn, passed_on


class Elsewhere(PassingOn):
    """Another worker that answers everything."""

    async def ask(self, control: str, name: str, request: Any) -> Any:
        return f"{name} of {request.call_id} at {control}"


class Service:
    def __init__(self) -> None:
        self.passing_on = Elsewhere(grpc.aio.insecure_channel)

    def elsewhere(self, call_id: str) -> tuple[PassingOn, str] | None:
        control = self.passing_on.where(call_id)
        return (self.passing_on, control) if control else None

    @passed_on
    async def Pause(self, request: Any, context: Any) -> str:  # noqa: N802 - the rpc's name
        return "here"


def asked(*metadata: tuple[str, str]) -> Any:
    return SimpleNamespace(invocation_metadata=lambda: metadata)


REQUEST = SimpleNamespace(call_id="c1")


async def test_a_call_that_is_here_is_answered_for_here() -> None:
    assert await Service().Pause(REQUEST, asked()) == "here"


async def test_a_call_that_has_moved_is_answered_for_where_it_is() -> None:
    service = Service()
    service.passing_on.gone("c1", "w2:1")
    assert await service.Pause(REQUEST, asked()) == "Pause of c1 at w2:1"
    service.passing_on.stays("c1")
    assert await service.Pause(REQUEST, asked()) == "here"


async def test_what_was_passed_on_is_passed_no_further() -> None:
    service = Service()
    service.passing_on.gone("c1", "w2:1")
    assert await service.Pause(REQUEST, asked(PASSED_ON)) == "here"


def test_of_too_many_calls_the_first_that_went_is_forgotten() -> None:
    calls = PassingOn(grpc.aio.insecure_channel)
    for number in range(passing_on.MOST_GONE + 1):
        calls.gone(str(number), "w2:1")
    assert (calls.where("0"), calls.where("1")) == ("", "w2:1")
