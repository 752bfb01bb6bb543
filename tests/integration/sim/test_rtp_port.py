"""Sending at 20 ms and hearing with the kernel's clock.

Nothing here is compared while it goes on: a sender is taken out of its pacer first, after which it
sends no more, and what it sent is waited for. What is early or late is told by the packets' times.
"""

from __future__ import annotations

import time
from itertools import pairwise

from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.pacer import PERIOD_NS, Pacer
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port
from voicefork_cli.sim.source import Mute, Script, Tone

from tests.builders.virtual_time import eventually


async def heard_of(pacer: Pacer, sender: RtpPort, hearer: RtpPort, packets: int) -> list[Packet]:
    """All that `sender` has sent, once that is so many packets and it sends no more."""
    await eventually(lambda: sender.sent >= packets)
    pacer.remove(sender)
    await eventually(lambda: hearer.received >= sender.sent)
    return list(hearer.heard)


async def test_packets_leave_every_twenty_ms_and_are_numbered(pacer: Pacer) -> None:
    begun = time.time_ns()
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.play(Tone(440))
        one.remote = other.address
        heard = await heard_of(pacer, one, other, 50)
    sent = one.said
    times = [packet.sent_ns for packet in sent]
    assert all(at >= begun + number * PERIOD_NS for number, at in enumerate(times))
    assert times[-1] - times[0] < 3 * len(times) * PERIOD_NS  # or this process stood still for 2 s
    assert [p.seq for p in heard] == [p.seq for p in sent]
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(heard)}
    assert steps == {160}
    assert [p.marker for p in heard] == [True] + [False] * (len(heard) - 1)


async def test_arrival_is_the_kernels_time_even_when_the_loop_was_busy(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.play(Tone(440))
        one.remote = other.address
        await eventually(lambda: other.received >= 5)  # the kernel has begun to stamp
        while one.sent < 25:
            time.sleep(0.01)  # noqa: ASYNC251 - the loop stands still on purpose
        heard = await heard_of(pacer, one, other, 25)
    arrivals = [packet.arrival_ns for packet in heard]
    for number, sent in enumerate(one.said[5:24], 5):
        assert sent.sent_ns <= arrivals[number] <= one.said[number + 1].sent_ns


async def test_the_first_packet_that_leaves_is_marked_however_late_it_is_known_where_to(
    pacer: Pacer,
) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other, open_rtp_port(pacer) as third:
        one.play(Tone(440))
        third.remote = other.address
        third.play(Tone(660))
        await eventually(lambda: third.sent >= 3)  # the other was asked as often
        one.remote = third.address
        heard = await heard_of(pacer, one, third, 3)
    assert [packet.marker for packet in heard] == [True] + [False] * (len(heard) - 1)


async def test_after_a_pause_the_time_has_gone_on_and_the_marker_is_set(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.remote = other.address
        one.play(Script([(Tone(440), 0.1), (Mute(), 0.2), (Tone(440), None)]))
        heard = await heard_of(pacer, one, other, 10)
    spurts = [packet for packet in heard if packet.marker]
    assert len(spurts) == 2
    assert (spurts[1].timestamp - spurts[0].timestamp) & 0xFFFFFFFF == 15 * 160
    assert (spurts[1].seq - spurts[0].seq) & 0xFFFF == 5


async def test_a_key_is_one_event_with_three_ends(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as one, open_rtp_port(pacer) as other:
        one.remote = other.address
        one.play(Tone(440))
        one.press("7", 100)
        heard = await heard_of(pacer, one, other, 20)
    events = [p for p in heard if p.payload_type == 101]
    assert len({p.timestamp for p in events}) == 1
    assert [p.payload[0] for p in events] == [7] * 7
    assert [p.payload[1] >> 7 for p in events] == [0, 0, 0, 0, 1, 1, 1]
    durations = [int.from_bytes(p.payload[2:4], "big") for p in events]
    assert durations == [160, 320, 480, 640, 800, 800, 800]


async def test_a_closed_port_sends_no_more(pacer: Pacer) -> None:
    with open_rtp_port(pacer) as other, open_rtp_port(pacer) as witness:
        with open_rtp_port(pacer) as one:
            one.play(Tone(440))
            one.remote = other.address
            await eventually(lambda: one.sent >= 3)
        count = one.sent
        witness.play(Tone(660))
        witness.remote = other.address
        heard = await heard_of(pacer, witness, other, 3)
    assert (one.sent, one.dropped) == (count, 0)
    assert [packet.ssrc for packet in heard].count(one.ssrc) == count
