"""Sending at 20 ms and hearing with the kernel's clock."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import numpy as np
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.rtp_port import open_rtp_port
from voicefork_cli.sim.source import Mute, Script, Tone


async def test_packets_leave_every_twenty_ms_and_are_numbered(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.play(Tone(440))
        one.remote = other.address
        await asyncio.sleep(1.0)
        sent, heard = list(one.said), list(other.heard)
    assert 45 <= len(sent) <= 51
    assert np.median(np.diff([p.sent_ns for p in sent])) / 1e6 - 20 < 1
    assert [p.seq for p in heard] == [p.seq for p in sent][: len(heard)]
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(heard)}
    assert steps == {160}
    assert [p.marker for p in heard] == [True] + [False] * (len(heard) - 1)


async def test_arrival_is_the_kernels_time_even_when_the_loop_was_busy(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.play(Tone(440))
        one.remote = other.address
        await asyncio.sleep(0.1)
        time.sleep(0.4)  # noqa: ASYNC251 - the loop stands still on purpose
        await asyncio.sleep(0.1)
        delays = [
            (heard.arrival_ns - sent.sent_ns) / 1e6
            for sent, heard in zip(one.said, other.heard, strict=False)
        ]
    assert len(delays) > 20
    assert float(np.median(delays)) < 2


async def test_after_a_pause_the_time_has_gone_on_and_the_marker_is_set(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.remote = other.address
        one.play(Script([(Tone(440), 0.1), (Mute(), 0.2), (Tone(440), None)]))
        await asyncio.sleep(0.6)
        heard = list(other.heard)
    spurts = [packet for packet in heard if packet.marker]
    assert len(spurts) == 2
    assert (spurts[1].timestamp - spurts[0].timestamp) & 0xFFFFFFFF == 15 * 160
    assert (spurts[1].seq - spurts[0].seq) & 0xFFFF == 5


async def test_a_key_is_one_event_with_three_ends(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.remote = other.address
        one.play(Tone(440))
        await asyncio.sleep(one.press("7", 100) + 0.2)
        events = [p for p in other.heard if p.payload_type == 101]
    assert len({p.timestamp for p in events}) == 1
    assert [p.payload[0] for p in events] == [7] * 7
    assert [p.payload[1] >> 7 for p in events] == [0, 0, 0, 0, 1, 1, 1]
    durations = [int.from_bytes(p.payload[2:4], "big") for p in events]
    assert durations == [160, 320, 480, 640, 800, 800, 800]


async def test_a_closed_port_sends_no_more(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as other:
        with open_rtp_port(pacer) as one:
            one.play(Tone(440))
            one.remote = other.address
            await asyncio.sleep(0.1)
        count = len(other.heard)
        await asyncio.sleep(0.1)
        assert len(other.heard) <= count + 1
