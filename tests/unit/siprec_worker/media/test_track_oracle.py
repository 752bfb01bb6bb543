"""The whole way of a packet against a model that anybody can check by eye.

A sender speaks in numbered packets of 20 ms; the network loses, doubles and delays them by up to
one tick, which the reorder buffer outlasts. Then every packet that was delivered is heard once, at
its own place, and every one that was not is told as a gap there: nothing else comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from siprec_worker.media.call_audio import CallAudio, TickOutput
from siprec_worker.media.model import AudioChunk, AudioFlag, AudioFormat, Encoding, Gap, GapCause

from tests.builders.rtp import rtp

TICK = 0.02
SLOT = 160
CALM = 4  # packets at the beginning and the end of a stream to which nothing happens
ULAW = AudioFormat(Encoding.G711_ULAW, 8000)
PCM = AudioFormat(Encoding.PCM_S16LE, 8000)


class Fate(NamedTuple):
    """What the network does to one packet."""

    lost: bool
    doubled: bool
    late: bool


class Stream(NamedTuple):
    """One SSRC's part of the call."""

    sequence: int
    timestamp: int
    fates: list[Fate]


FATES = st.lists(
    st.builds(
        Fate,
        lost=st.sampled_from([False, False, False, True]),
        doubled=st.sampled_from([False, False, True]),
        late=st.booleans(),
    ),
    max_size=40,
)
STREAMS = st.lists(
    st.builds(
        Stream,
        sequence=st.integers(0, 0xFFFF) | st.integers(0xFFF0, 0xFFFF),
        timestamp=st.integers(0, 0xFFFFFFFF) | st.integers(0xFFFFF000, 0xFFFFFFFF),
        fates=FATES,
    ),
    min_size=1,
    max_size=3,
)
Write = Callable[[int, int, int, int], bytes]
"""Number of the slot, sequence, timestamp on the call's clock, SSRC -> datagram."""


def mark(number: int) -> int:
    """The octet of a slot's audio; neither silence nor its neighbour's."""
    return number % 100 + 1


def pcmu(number: int, sequence: int, timestamp: int, ssrc: int) -> bytes:
    return rtp(sequence, bytes((mark(number),)) * SLOT, timestamp=timestamp, ssrc=ssrc)


def extended(number: int, sequence: int, timestamp: int, ssrc: int) -> bytes:
    """As `pcmu`, with a CSRC, a header extension and padding around the audio."""
    plain = pcmu(number, sequence, timestamp, ssrc)
    head = bytes((plain[0] | 0x31,)) + plain[1:12]
    return head + b"CSRC" + b"\xbe\xde\0\1\x10\xff\0\0" + plain[12:] + b"\0\0\0\4"


def l16(number: int, sequence: int, timestamp: int, ssrc: int) -> bytes:
    sample = bytes((0, mark(number)))
    return rtp(sequence, sample * SLOT, payload_type=97, timestamp=timestamp, ssrc=ssrc)


PAYLOADS = {0: ("PCMU", 8000), 97: ("L16", 8000)}
WAYS = [(ULAW, pcmu, 1), (ULAW, extended, 1), (PCM, l16, 2)]


def delivered(streams: list[Stream], write: Write) -> tuple[list[list[bytes]], list[bool]]:
    """The datagrams by tick, and for each slot of the call whether its packet was lost."""
    ticks: list[list[bytes]] = []
    lost: list[bool] = []
    calm = [Fate(False, False, False)] * CALM
    for ssrc, stream in enumerate(streams, start=1):
        for n, fate in enumerate([*calm, *stream.fates, *calm]):
            number = len(lost)
            lost.append(fate.lost)
            while len(ticks) < number + 2:
                ticks.append([])
            if fate.lost:
                continue
            datagram = write(
                number,
                (stream.sequence + n) & 0xFFFF,
                (stream.timestamp + n * SLOT) & 0xFFFFFFFF,
                ssrc,
            )
            ticks[number + fate.late] += [datagram] * (1 + fate.doubled)
    return ticks, lost


def heard(uplink: AudioFormat, ticks: list[list[bytes]]) -> tuple[list[TickOutput], CallAudio]:
    call = CallAudio(0.0, uplink=uplink)
    track = call.add_track(0, PAYLOADS)
    call.want((0,))
    out: list[TickOutput] = []
    for number, datagrams in enumerate([*ticks, *[[]] * 5]):
        for datagram in datagrams:
            track.receive(datagram)
        out += call.tick(0.011 + number * TICK)
    return out, call


@pytest.mark.parametrize(("uplink", "write", "octets"), WAYS, ids=["plain", "extended", "l16"])
@settings(max_examples=120)
@given(streams=STREAMS)
def test_what_was_delivered_is_heard_in_its_place_and_nothing_else(
    uplink: AudioFormat, write: Write, octets: int, streams: list[Stream]
) -> None:
    ticks, lost = delivered(streams, write)
    out, call = heard(uplink, ticks)
    slots: list[int | None] = [None] * len(lost)
    gone: list[bool] = [False] * len(lost)
    for item in out:
        match item:
            case AudioChunk(pts, ((0, data, flags),)):
                assert flags == AudioFlag.NONE
                assert len(set(data[::octets])) == 1
                assert slots[pts // SLOT] is None
                slots[pts // SLOT] = data[0]
            case Gap(0, start, end, cause, packets):
                assert cause is GapCause.NETWORK_LOSS
                assert packets == (end - start) // SLOT
                for slot in range(start // SLOT, end // SLOT):
                    assert not gone[slot]
                    gone[slot] = True
            case _:
                pytest.fail(f"{item} came out of nowhere")
    assert gone == lost
    assert slots == [None if was else mark(n) for n, was in enumerate(lost)]
    stats = call.stats()[0]
    fates = [fate for stream in streams for fate in stream.fates]
    assert stats.lost == sum(fate.lost for fate in fates)
    assert stats.duplicates == sum(fate.doubled and not fate.lost for fate in fates)
    assert (stats.late, stats.bad, stats.epochs) == (0, 0, len(streams))


@settings(max_examples=60)
@given(STREAMS)
def test_every_form_has_the_same_places(streams: list[Stream]) -> None:
    ticks, _ = delivered(streams, pcmu)
    shapes = []
    for uplink in (PCM, AudioFormat(Encoding.PCM_S16LE, 24_000), ULAW):
        out, _ = heard(uplink, ticks)
        shapes.append([i.pts if isinstance(i, AudioChunk) else i for i in out])
    assert shapes[0] == shapes[1] == shapes[2]
