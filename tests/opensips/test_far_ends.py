"""Trunks that are not like the others: behind a NAT, with SRTP, or not forked but relayed."""

from __future__ import annotations

import asyncio

import pytest
from voicefork_cli.measure.tones import share_of
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.phone import AgentPhone
from voicefork_cli.sim.source import Tone

from tests.opensips.conftest import Opening
from tests.opensips.recorder import Recorder
from tests.opensips.secure import speak_srtp

TRUNK = {"name": "carrier", "sources": ["127.0.0.1"]}
UNREACHABLE = "10.255.255.1:5060"
CUSTOMER, PBX = 440, 350  # Hz


def behind_nat(caller: CarrierCaller) -> None:
    """Its Contact is an address that nobody outside can reach."""
    caller.endpoint.uri = lambda user="", transport="udp": f"sip:{user}@{UNREACHABLE}"  # type: ignore[method-assign]


async def test_the_pbx_can_hang_up_on_a_caller_behind_a_nat(
    open_edge: Opening, pbx: AgentPhone
) -> None:
    async with open_edge(trunks=[{**TRUNK, "nat": True}]) as edge, open_caller() as caller:
        behind_nat(caller)
        await caller.dial(f"sip:901@{edge.sip}", Tone(440))
        await (await pbx.next_call()).hang_up()
        async with asyncio.timeout(3):
            await caller.ended.wait()


async def test_a_trunk_with_srtp_talks_to_a_pbx_without_and_the_fork_is_plain(
    open_edge: Opening, pbx: AgentPhone, recorder: Recorder
) -> None:
    async with open_edge(trunks=[{**TRUNK, "srtp": True}]) as edge, open_caller() as caller:
        secure = speak_srtp(caller)
        await caller.dial(f"sip:901@{edge.sip}", Tone(CUSTOMER))
        call = await pbx.next_call()
        assert b"RTP/AVP" in call.invite.body
        assert b"crypto" not in call.invite.body
        assert caller.final is not None
        assert b"RTP/SAVP" in caller.final.body
        secure.expect(caller.final.body)
        call.play(Tone(PBX))
        fork = await recorder.fork()
        assert b"RTP/SAVP" not in fork.invite.body
        await fork.audio("customer", 50)
        await fork.audio("pbx", 50)
        assert share_of(call.heard[-25:], CUSTOMER, (CUSTOMER, PBX)) == 1.0
        assert share_of(caller.heard[-25:], PBX, (CUSTOMER, PBX)) == 1.0
        assert share_of(fork.heard("customer")[-25:], CUSTOMER, (CUSTOMER, PBX)) == 1.0
        assert share_of(fork.heard("pbx")[-25:], PBX, (CUSTOMER, PBX)) == 1.0
        assert secure.refused == 0


@pytest.mark.parametrize("relay_all", [True, False])
async def test_audio_that_is_not_forked_is_relayed_where_that_is_asked(
    open_edge: Opening, pbx: AgentPhone, relay_all: bool
) -> None:
    trunk = {**TRUNK, "fork": False}
    async with open_edge(trunks=[trunk], relay_all=relay_all) as edge, open_caller() as caller:
        await caller.dial(f"sip:901@{edge.sip}", Tone(440))
        offered = (await pbx.next_call()).invite.body.decode()
        assert (f"m=audio {caller.rtp.address[1]} " not in offered) is relay_all
