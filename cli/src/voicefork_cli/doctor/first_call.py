"""One simulated call to a worker: is it recorded, does its AI open, take the audio, and speak?

The fork alone where no PBX is named. An AI that speaks waits for its way into Asterisk then, so
`pbx` also calls Asterisk as the edge would, with the same X-Voicefork-Call.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from voicefork_cli.doctor.finding import Finding, found
from voicefork_cli.doctor.places import Places, addresses_of, local_address_towards
from voicefork_cli.doctor.workers import host_and_port
from voicefork_cli.measure.heard import is_silent
from voicefork_cli.sim.caller import CarrierCaller, Identity, open_caller
from voicefork_cli.sim.edge_call import new_call_id
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.fork_media import DirectMedia, open_direct_media
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rs_metadata import RecordedCall, marked_party
from voicefork_cli.sim.source import Silence, Tone
from voicefork_cli.sim.src import ForkState, SiprecClient, SrcSettings

OPEN_SECONDS = 4.0
AUDIO_SECONDS = 1.5
VOICE_SECONDS = 4.0
LOOK_SECONDS = 0.1
MUSIC_ENDS_SECONDS = 0.5  # after the AI's first word
SURE_SECONDS = 1.0  # of speech that the caller must have heard
SENT_EACH_SECOND = 50  # packets of a leg
WHAT = "call"
VOICE = f"{WHAT}: voice"
DEFAULT_DID = "+14155550199"
Page = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Whom the call is for, as far as the worker's routes ask."""

    tenant: str = ""
    did: str = DEFAULT_DID
    pbx: str = ""  # HOST:PORT of Asterisk's SIP (UDP); empty: the fork alone


async def place_call(places: Places, plan: CallPlan) -> list[Finding]:
    if not places.worker:
        return [Finding(WHAT, "no worker is named", "say where one is with --worker")]
    advice = "look at the worker's log: it names the call"
    seconds = OPEN_SECONDS + AUDIO_SECONDS + VOICE_SECONDS + 5.0
    return await found(WHAT, advice, lambda: _call(places, plan), seconds)


async def _call(places: Places, plan: CallPlan) -> list[Finding]:
    """Raises SimError, OSError, aiohttp.ClientError."""
    host, port = host_and_port(places.worker)
    address = (await addresses_of(host))[0]
    ours = local_address_towards(address)
    with open_pacer() as pacer:
        # A caller who makes a sound would interrupt the AI's greeting.
        sounds = Silence(), Tone(660)
        with open_direct_media(pacer, *sounds, host=ours) as media:
            async with open_sip(ours) as endpoint, aiohttp.ClientSession() as session:
                call = _FirstCall(endpoint, media, plan, ours)
                admin = f"http://{address}:{places.worker_admin}"
                worker = f"sip:{address}:{port};transport=tcp"
                try:
                    async with _in_asterisk(plan, call.headers, pacer) as caller:
                        return await call.run(worker, caller, session, admin)
                finally:
                    await call.client.stop()


@asynccontextmanager
async def _in_asterisk(
    plan: CallPlan, headers: Mapping[str, str], pacer: Pacer
) -> AsyncIterator[CarrierCaller | None]:
    """The call's other half: a caller whom Asterisk has answered or begun to. Raises SimError."""
    if not plan.pbx:
        yield None
        return
    host, port = host_and_port(plan.pbx)
    address = (await addresses_of(host))[0]
    identity = Identity(name="Doctor", host=local_address_towards(address))
    async with open_caller(identity, pacer=pacer) as caller:
        number = plan.did.lstrip("+")
        await caller.start(f"sip:{number}@{address}:{port}", Silence(), headers=headers)
        yield caller


class _FirstCall:
    def __init__(
        self, endpoint: SipEndpoint, media: DirectMedia, plan: CallPlan, host: str
    ) -> None:
        recorded = RecordedCall(
            f"{secrets.token_hex(8)}@{host}",
            marked_party(f"sip:+14155550100@{host}", "Doctor", "customer"),
            marked_party(f"sip:{plan.did}@{host}", "", "pbx"),
            plan.tenant,
        )
        self.client = SiprecClient(endpoint, media, recorded, SrcSettings(no_answer_seconds=3.0))
        self._call_id = new_call_id()
        self.headers = {
            "X-Voicefork-Call": self._call_id,
            "X-Voicefork-Direction": "in",
            "X-Voicefork-Tenant": plan.tenant,
            "X-Voicefork-DID": plan.did,
        }

    async def run(
        self,
        worker: str,
        caller: CarrierCaller | None,
        session: aiohttp.ClientSession,
        admin: str,
    ) -> list[Finding]:
        headers = [(name, value) for name, value in self.headers.items() if value]
        state = await self.client.start([worker], headers)
        if state is not ForkState.RECORDING:
            advice = "503: it is full or draining; 403: see --sip-allow; silence: see its log"
            return [Finding(f"{WHAT}: recorded", self.client.reason or state.value, advice)]
        findings = [Finding(f"{WHAT}: recorded", f"as {self._call_id}")]
        page = await self._opened(session, admin)
        if not caller and "waiting" in _stages(page):
            said = "waits for its way into Asterisk: --pbx HOST:PORT calls there too"
            return [*findings, Finding(f"{WHAT}: AI", said)]
        findings.append(_ai(page))
        if findings[-1].bad:
            return [*findings, *_answered(caller)]
        loop = asyncio.get_running_loop()
        begun, before = loop.time(), _packets(page)
        voice = await self._voice(caller, session, admin)
        await asyncio.sleep(begun + AUDIO_SECONDS - loop.time())
        page = await self._page(session, admin)
        findings.append(_audio(_packets(page) - before, loop.time() - begun, page))
        return [*findings, *_answered(caller), *voice]

    async def _opened(self, session: aiohttp.ClientSession, admin: str) -> Page:
        """The call once an AI of it has opened, or when that has lasted too long."""
        loop = asyncio.get_running_loop()
        end = loop.time() + OPEN_SECONDS
        while True:
            page = await self._page(session, admin)
            if "open" in _stages(page) or loop.time() > end:
                return page
            await asyncio.sleep(LOOK_SECONDS)

    async def _voice(
        self, caller: CarrierCaller | None, session: aiohttp.ClientSession, admin: str
    ) -> list[Finding]:
        """Whether the caller hears what the AI says. Music has played until its first word."""
        if caller is None or caller.answered_ns is None:
            return []
        loop = asyncio.get_running_loop()
        end, began, ended, heard_before = loop.time() + VOICE_SECONDS, 0.0, 0.0, 0
        while loop.time() < end:
            talkback = (await self._page(session, admin))["talkback"]
            if talkback["playing"]:
                ended = loop.time()
                began = began or ended
            if began and loop.time() - began < MUSIC_ENDS_SECONDS:
                heard_before = len(caller.heard)
            elif began and not all(map(is_silent, caller.heard[heard_before:])):
                return [Finding(VOICE, "the caller hears the AI")]
            await asyncio.sleep(LOOK_SECONDS)
        return [_unheard(talkback, ended - began)]

    async def _page(self, session: aiohttp.ClientSession, admin: str) -> Page:
        async with session.get(f"{admin}/calls/{self._call_id}") as response:
            response.raise_for_status()
            page: Page = await response.json()
            return page


def _answered(caller: CarrierCaller | None) -> list[Finding]:
    if caller is None or caller.answered_ns is not None:
        return []
    last = caller.final
    said = f"{last.status} {last.reason}" if last else "no answer"
    advice = "Asterisk does not take calls from here: an identify section for this address?"
    return [Finding(f"{WHAT}: Asterisk", said, advice)]


def _unheard(talkback: Page, spoken_seconds: float) -> Finding:
    """Of a caller who has heard nothing of the AI."""
    if spoken_seconds > SURE_SECONDS:
        host, port = talkback["address"]
        said = f"the AI has spoken for {spoken_seconds:.1f} s, and the caller hears silence"
        advice = f"UDP from the worker ({host}:{port}, where no NAT changes it) to Asterisk's RTP"
        return Finding(VOICE, said, f"{advice}: routes, firewalls, NetworkPolicies")
    if talkback["speaking"]:
        return Finding(VOICE, f"the AI says next to nothing in {VOICE_SECONDS:g} s: not tried")
    advice = "the orchestrator makes its way into Asterisk: look for the call in its log"
    return Finding(VOICE, "the AI has no way to the caller", advice)


def _stages(page: Page) -> list[str]:
    return [agent["stage"] for agent in page["agents"]]


def _packets(page: Page) -> int:
    return sum(int(leg["counters"].get("packets", 0)) for leg in page["legs"])


def _ai(page: Page) -> Finding:
    what = f"{WHAT}: AI"
    seats = ", ".join(f"{agent['url']} {agent['stage']}" for agent in page["agents"])
    if "open" in _stages(page):
        return Finding(what, seats)
    if not page["agents"]:
        return Finding(what, "none", "the worker's --agent, or a route, must name one")
    return Finding(
        what, seats, "the worker does not get it open: its address, its health, its TLS?"
    )


def _audio(packets: int, seconds: float, page: Page) -> Finding:
    what = f"{WHAT}: audio"
    said = f"{packets} packets in {seconds:.1f} s"
    if "open" not in _stages(page):
        return Finding(what, f"{said}, but the AI left", "see the AI's log for this call")
    if packets < seconds * SENT_EACH_SECOND:
        advice = "RTP does not reach the worker: the address in its SDP (--advertise), firewalls"
        return Finding(what, said, advice)
    return Finding(what, f"{said}, the AI has it")
