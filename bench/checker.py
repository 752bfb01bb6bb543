"""What an AI has heard, judged: the order of messages, the place and the content of every frame.

Order: `seq` by one, `pts` by what came before it or by a Gap. Content: each frame must be the one
that bench/load.c sent at that place.
"""

from __future__ import annotations

from dataclasses import dataclass

from siprec_worker.media.g711 import ulaw_to_linear
from voicefork.agent.v1 import agent_pb2 as pb

PACKET_SAMPLES = 160
FRAME_BYTES = 2 * PACKET_SAMPLES
STAMP_SAMPLES = 32  # the time of sending, see stamp.h: not looked at here
PATTERN_STEP, PACKET_STEP = 3, 7
_INVERSE_STEP = pow(PACKET_STEP, -1, 256)
FRAMES = [
    ulaw_to_linear(bytes((first + PATTERN_STEP * at) % 256 for at in range(128)))
    for first in range(256)
]
NUMBERS = {frame: first for first, frame in enumerate(FRAMES)}


@dataclass(slots=True)
class Seen:
    """Sums over all calls. A frame is 20 ms of one leg."""

    calls: int = 0
    opened: int = 0
    messages: int = 0
    frames: int = 0
    made_up: int = 0  # frames with a flag: concealed, not heard
    wrong_order: int = 0
    wrong_content: int = 0
    gaps: int = 0
    lost_packets: int = 0  # as told by Gap
    shed_gaps: int = 0
    stalled: str = ""  # id of the call that is not read


class Checker:
    """What one call must bring next."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._seq = 1
        # Leg -> (next pts, next frame's number, how many frames may be missing before it).
        self._places: dict[int, tuple[int, int, int]] = {}

    def take(self, request: pb.ConverseRequest) -> None:
        seen = self._seen
        seen.messages += 1
        self._seq += 1
        if request.seq != self._seq:
            seen.wrong_order += 1
            self._seq = request.seq
        match request.WhichOneof("message"):
            case "audio":
                for leg in request.audio.legs:
                    self._take_leg(leg, request.audio.pts)
            case "gap":
                self._take_gap(request.gap)

    def _take_leg(self, leg: pb.LegAudio, pts: int) -> None:
        """20 ms of a leg, or more of them in one message where this AI was too slow."""
        seen, data = self._seen, leg.data
        if leg.flags:
            seen.made_up += len(data) // FRAME_BYTES
            self._places.pop(leg.handle, None)
            return
        for at in range(0, len(data), FRAME_BYTES):
            self._take_frame(leg.handle, pts + at // 2, data[at : at + FRAME_BYTES])

    def _take_frame(self, handle: int, pts: int, frame: bytes) -> None:
        seen = self._seen
        seen.frames += 1
        number = NUMBERS.get(frame[2 * STAMP_SAMPLES :])
        due = self._places.get(handle)
        if due is not None and pts != due[0]:
            seen.wrong_order += 1
        if number is None or (due is not None and not _may_follow(number, due[1], due[2])):
            seen.wrong_content += 1
            self._places.pop(handle, None)
            return
        self._places[handle] = (pts + PACKET_SAMPLES, (number + PACKET_STEP) % 256, 0)

    def _take_gap(self, gap: pb.Gap) -> None:
        self._seen.gaps += 1
        self._seen.lost_packets += gap.packets
        self._seen.shed_gaps += gap.cause == pb.GAP_CAUSE_SHED
        due = self._places.get(gap.leg)
        if due is None or due[0] != gap.from_pts:
            self._places.pop(gap.leg, None)
            return
        frames = (gap.to_pts - gap.from_pts) // PACKET_SAMPLES or gap.packets
        self._places[gap.leg] = (gap.to_pts, due[1], due[2] + frames)


def _may_follow(number: int, due: int, missing: int) -> bool:
    """A frame's number, when so many before it were told as missing, at most."""
    steps = (number - due) * _INVERSE_STEP % 256
    return steps <= missing
