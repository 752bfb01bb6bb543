"""The receptionist example hears synthetic callers through a telephone line, and acts."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from functools import partial

import pytest

pytest.importorskip("pocketsphinx")
if shutil.which("flite") is None:
    pytest.skip("flite is not installed", allow_module_level=True)

from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2
from voicefork_sdk.server import AgentServer
from voicefork_sdk.speech.phrases import PhraseSpotters
from voicefork_sdk.speech.voice import synthesise

from sdk.examples import receptionist
from tests.builders.telephone_speech import through_ulaw
from tests.fakes.worker_peer import WorkerPeer, dial, opening

PAUSE = bytes(8000)  # half a second
Lines = dict[str, bytes]


@pytest.fixture(scope="module")
def lines() -> Lines:
    return synthesise(receptionist.LINES)


@pytest.fixture(scope="module")
def spotters() -> PhraseSpotters:
    return receptionist.spotters("slt")


@pytest.fixture
async def peer(lines: Lines, spotters: PhraseSpotters) -> AsyncIterator[WorkerPeer]:
    """A call to the receptionist, answered and greeted."""
    agent = partial(receptionist.on_call, spotters=spotters, lines=lines)
    async with (
        AgentServer(agent, options=receptionist.OPTIONS) as server,
        dial(server.address) as peer,
    ):
        await peer.open(opening())
        await peer.answer()
        await peer.until(lambda: any(one.speak.last for one in peer.of_kind("speak")))
        yield peer


async def say(peer: WorkerPeer, text: str, voice: str = "slt") -> None:
    """A caller says this, four times as fast as in real time."""
    speech = synthesise({"it": text}, voice)["it"]
    await peer.hear(PAUSE + through_ulaw(speech) + PAUSE + PAUSE, pace=0.25)


def said(peer: WorkerPeer) -> list[str]:
    names = [one.speak.utterance_id for one in peer.of_kind("speak") if one.speak.last]
    return [name.rpartition("-")[0] or name for name in names]


async def test_it_greets_whoever_calls(peer: WorkerPeer, lines: Lines) -> None:
    assert said(peer) == ["greeting"]
    assert peer.spoken() == lines["greeting"]


async def test_it_tells_the_opening_hours(peer: WorkerPeer, lines: Lines) -> None:
    await say(peer, "What are your opening hours?")
    await peer.until(lambda: "hours" in said(peer))
    assert peer.spoken().endswith(lines["hours"])
    assert (await peer.expect("intent")).intent.name == "hours"


async def test_it_escalates_a_dispute_once_with_its_context(
    peer: WorkerPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    await say(peer, "I want to dispute this charge.")
    asked = (await peer.expect("escalate")).escalate
    assert (asked.intent, asked.say_first) == ("dispute", "transition")
    assert asked.context.summary == "The caller wants to dispute a charge."
    assert asked.context.slots["account"] == "4092"
    assert "dispute" in asked.context.transcript_tail[-2].text
    assert "transition" in said(peer)
    assert (await peer.expect("transcript")).transcript.final
    assert len(peer.of_kind("escalate")) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["event"] for one in told][-4:] == ["heard", "said", "escalated", "briefing"]


async def test_it_apologises_when_the_caller_comes_back(peer: WorkerPeer) -> None:
    await say(peer, "I want to dispute this charge.")
    asked = (await peer.expect("escalate")).escalate
    await peer.send(freeze=pb.Freeze(reason="handoff", except_utterance_id="transition"))
    await peer.handoff(asked.request_id, handoff_pb2.PHASE_RETURNED, 5)
    await peer.until(lambda: "sorry" in said(peer))


async def test_it_stops_talking_when_the_caller_speaks(peer: WorkerPeer) -> None:
    peer.plays = False
    await say(peer, "What are your opening hours?")
    await peer.until(lambda: "hours" in said(peer))
    await peer.send(speech=pb.Speech(leg=1, started=True))
    cleared = await peer.expect("clear")
    assert cleared.clear.utterance_ids[0].startswith("hours")


async def test_it_hangs_up_after_its_goodbye(peer: WorkerPeer) -> None:
    await say(peer, "Thank you, goodbye.")
    await peer.expect("hang_up")
    assert said(peer) == ["greeting", "goodbye"]


@pytest.mark.parametrize("text", ["", "The weather is very nice today."])
async def test_it_answers_nothing_to_what_it_does_not_know(peer: WorkerPeer, text: str) -> None:
    if text:
        await say(peer, text)
    else:
        await peer.hear(PAUSE * 4, pace=0.25)
    assert said(peer) == ["greeting"]
    assert not peer.of_kind("intent")


@pytest.mark.parametrize("voice", ["slt", "kal16", "rms", "awb"])
async def test_it_understands_a_dispute_in_every_voice(peer: WorkerPeer, voice: str) -> None:
    await say(peer, "I need to dispute a charge on my card.", voice)
    assert (await peer.expect("escalate")).escalate.intent == "dispute"
