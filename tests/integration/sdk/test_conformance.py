"""The conformance check against agents that keep the rules, and one that does not."""

from __future__ import annotations

import pytest
from voicefork_sdk.call import Call
from voicefork_sdk.conformance import checks
from voicefork_sdk.conformance.__main__ import check
from voicefork_sdk.conformance.checks import Result
from voicefork_sdk.server import AgentServer

from sdk.examples import echo

HALF_SECOND = b"\x10\x00" * 4000


async def test_the_echo_agent_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    # Dialler and agent share a process that may stand still: how soon it acks is not looked at.
    monkeypatch.setattr(checks, "_ACK_SLACK_SECONDS", 5.0)
    async with AgentServer(echo.on_call, options=echo.OPTIONS) as server:
        verdicts = await check(server.address, seconds=2.0)
    assert {verdict.result for verdict in verdicts} == {Result.PASS}


async def test_an_agent_that_speaks_too_early_is_told() -> None:
    async def blurt(call: Call) -> None:
        await call.speak("hello", HALF_SECOND)
        async for _ in call.events():
            pass

    async with AgentServer(blurt) as server:
        verdicts = await check(server.address, seconds=1.0)
    failed = [verdict.rule for verdict in verdicts if verdict.result is Result.FAIL]
    assert failed == [
        "nothing is said before CallState ANSWERED",
        "a SHADOW neither speaks nor escalates",
    ]
