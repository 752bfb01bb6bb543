"""What a call's recording holds, and whether that is what its caller heard, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.measure.packets import SAMPLE_RATE, Packet
from voicefork_cli.measure.pcm import Pcm
from voicefork_cli.measure.tones import tones_in, tones_of
from voicefork_cli.sim.leg import Leg
from voicefork_cli.sim.wav import read_wav

from tests.e2e.ears import AGENT, BOT, CALLER, INTRO, MUSIC

OTHER_AGENT = 760
TONES = (MUSIC, CALLER, AGENT, OTHER_AGENT, BOT, INTRO)
FRAME_SECONDS = 0.02
FRAME = round(SAMPLE_RATE * FRAME_SECONDS)
SURE_FRAMES = 10
TOLERANCE_SECONDS = 0.1  # of the length, and of where a voice begins and ends
USUAL_SECONDS = 0.04  # of packets being late
WRITTEN_SECONDS = 0.3  # nothing more comes once a file has kept its length that long


@dataclass(frozen=True, slots=True)
class Voice:
    """A tone that sounds without a break that anybody would call one."""

    hz: int
    from_seconds: float
    to_seconds: float


def voices(frames: Iterable[tuple[float, frozenset[float]]]) -> list[Voice]:
    """Who is heard in frames of (seconds, tones), in order; less than 200 ms of a tone is none."""
    found: list[Voice] = []
    run: list[float] = []
    tone = 0
    for at, tones in frames:
        others = tones - {CALLER}
        one = int(next(iter(others))) if len(others) == 1 else 0
        run = [*run, at] if one == tone else [at]
        tone = one
        if not tone or len(run) < SURE_FRAMES:
            continue
        end = at + FRAME_SECONDS
        if found and found[-1].hz == tone:
            found[-1] = Voice(tone, found[-1].from_seconds, end)
        else:
            found.append(Voice(tone, run[0], end))
    return found


def voices_in(pcm: Pcm) -> list[Voice]:
    """By place in the file."""
    starts = range(0, len(pcm) - FRAME, FRAME)
    return voices((at / SAMPLE_RATE, tones_in(pcm[at : at + FRAME], TONES)) for at in starts)


def voices_heard(packets: Sequence[Packet], from_ns: int) -> list[Voice]:
    """By arrival."""
    return voices(((p.arrival_ns - from_ns) / 1e9, tones_of(p, TONES)) for p in packets)


async def read_recording(spool: Path, call_id: str) -> Pcm:
    """A call's file, once nothing is written to it any more."""
    (file,) = (spool / "monitor").glob(f"voicefork-{call_id}.wav*")
    content, before = await asyncio.to_thread(file.read_bytes), b""
    while content != before:
        await asyncio.sleep(WRITTEN_SECONDS)
        content, before = await asyncio.to_thread(file.read_bytes), content
    return read_wav(content)


def behind(packets: Iterable[tuple[int, int]]) -> float:
    """How far the machine fell behind in a stream of (ns, RTP timestamp), in seconds.

    By as much the recording may be wrong, too: nothing for a machine that has the time. A jump of
    the timestamps, which is no time passed, begins anew.
    """
    worst, first, index, last = 0.0, 0.0, 0, -FRAME
    earliest = latest = 0.0
    for at_ns, timestamp in packets:
        index = index + 1 if (timestamp - last) % 2**32 == FRAME else 0
        if index == 0:
            first, earliest, latest = at_ns / 1e9, 0.0, 0.0
        late = at_ns / 1e9 - first - index * FRAME_SECONDS
        earliest, latest, last = min(earliest, late), max(latest, late), timestamp
        worst = max(worst, latest - earliest)
    return max(0.0, worst - USUAL_SECONDS)


def assert_whole(pcm: Pcm, caller: Leg, wanted: Sequence[int]) -> None:
    """The file is as long as the call; its last voices are the `wanted`, each where it was heard.

    The call is as long as the caller's own voice, whose packets' times are the kernel's, and until
    the BYE has come to Asterisk: so long its voices go on.
    """
    tolerance = TOLERANCE_SECONDS
    tolerance += behind((packet.sent_ns, packet.timestamp) for packet in caller.said)
    tolerance += behind((packet.arrival_ns, packet.timestamp) for packet in caller.heard)
    begun_ns = caller.said[0].sent_ns
    lasted = (caller.said[-1].sent_ns - begun_ns) / 1e9 + FRAME_SECONDS
    rang_off = max(lasted, (caller.heard[-1].arrival_ns - begun_ns) / 1e9 + FRAME_SECONDS)
    said = voices_in(pcm)[-len(wanted) :]
    heard = voices_heard(caller.heard, begun_ns)[-len(wanted) :]
    length = len(pcm) / SAMPLE_RATE
    found = f"in the file ({length:.3f} s): {said}, heard ({lasted:.3f} s): {heard}, {tolerance=}"
    assert [voice.hz for voice in said] == list(wanted), found
    assert [voice.hz for voice in heard] == list(wanted), found
    assert lasted - tolerance <= length <= rang_off + tolerance, found
    for mine, theirs in zip(said, heard, strict=True):
        assert abs(mine.from_seconds - theirs.from_seconds) <= tolerance, found
        end = min(theirs.to_seconds, lasted)  # what was on its way at the BYE is no call any more
        assert end - tolerance <= mine.to_seconds <= theirs.to_seconds + tolerance, found
    assert _unheard_seconds(pcm) <= tolerance + (rang_off - lasted), found


def _unheard_seconds(pcm: Pcm) -> float:
    """Of the caller, who spoke all the time."""
    starts = range(FRAME * SURE_FRAMES, len(pcm) - FRAME * SURE_FRAMES, FRAME)
    return FRAME_SECONDS * sum(CALLER not in tones_in(pcm[at : at + FRAME], TONES) for at in starts)
