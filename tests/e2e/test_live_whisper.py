"""An agent is told something in mid-call on a real Asterisk; the caller hears only the agent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from orchestrator.ari.client import AriClient
from orchestrator.ari.rest import open_rest
from orchestrator.ari.voice import AriVoice
from orchestrator.errors import Unprocessable
from orchestrator.handoff.names import agent_channel
from orchestrator.handoff.ports import Sound
from orchestrator.model import HandoffId
from orchestrator.telemetry import Metrics
from voicefork_cli.lab.asterisk import AsteriskPlan, open_asterisk
from voicefork_cli.lab.processes import Lab
from voicefork_cli.measure.pcm import tone
from voicefork_cli.measure.tones import tone_timeline
from voicefork_cli.sim.phone import AgentPhone, Behaviour, PhoneCall, open_phone
from voicefork_cli.sim.source import Tone

from tests.e2e.ears import AGENT, CALLER, INTRO, TONES, until_hears
from tests.e2e.recordings import read_recording, voices_in

AGENTS, CALLERS = agent_channel(HandoffId("h1"), 1), "caller"
SECONDS = 1.5
ANSWERED_SECONDS = 20.0


def heard(call: PhoneCall) -> list[set[float]]:
    return [set(each.hz) for each in tone_timeline(call.heard, TONES)]


async def enter(client: AriClient, channel: str) -> None:
    """As soon as the phone has answered and is in Stasis."""
    async with asyncio.timeout(ANSWERED_SECONDS):
        while True:
            with suppress(Unprocessable):
                await client.add_to_bridge("talk", channel)
                return
            await asyncio.sleep(0.02)


async def test_a_whisper_is_the_agents_alone_and_leaves_nothing_behind(
    lab: Lab, phone: AgentPhone
) -> None:
    async with open_phone("agent-2") as caller:
        phone.behaviour = Behaviour(ring_seconds=0.0)
        caller.behaviour = Behaviour(ring_seconds=0.0, source=Tone(CALLER))
        plan = AsteriskPlan(agents={"agent-1": phone.uri, "agent-2": caller.uri})
        async with (
            open_asterisk(lab, plan) as asterisk,
            open_rest(
                asterisk.http_url,
                asterisk.ari_user,
                asterisk.ari_password,
                limit_seconds=2.0,
                metrics=Metrics(),
            ) as rest,
        ):
            client = AriClient(rest, "voicefork-0")
            events = await rest.connect(client.app, 20)
            await client.originate(AGENTS, "PJSIP/agent-1")
            await client.originate(CALLERS, "PJSIP/agent-2")
            agents, callers = await phone.next_call(), await caller.next_call()
            await client.create_bridge("talk")
            for channel in (AGENTS, CALLERS):
                await enter(client, channel)
            (name,) = [each.name for each in await client.channels() if each.id == CALLERS]
            await asterisk.cli(f"mixmonitor start {name} voicefork-{CALLERS}.wav")
            await until_hears(agents, CALLER)
            said = Sound(tone(INTRO, round(8000 * SECONDS)).tobytes(), 8000)
            await AriVoice(client).whisper(AGENTS, AGENTS, said)
            await until_hears(agents, CALLER)
            told = heard(agents)
            assert (told[0], told[-1]) == ({CALLER}, {CALLER})
            assert {CALLER, INTRO} in told
            assert heard(callers) == [{AGENT}]
            assert {channel.id for channel in await client.channels()} == {AGENTS, CALLERS}
            assert [bridge.id for bridge in await client.bridges()] == ["talk"]
            await callers.hang_up()
            pcm = await read_recording(asterisk.spool, CALLERS)
            assert [voice.hz for voice in voices_in(pcm)] == [AGENT]
            await events.close()
