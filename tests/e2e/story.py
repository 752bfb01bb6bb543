"""A handoff that connects, as the caller's ear heard it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from voicefork.handoff.v1 import handoff_pb2 as pb
from voicefork_cli.measure.packets import Packet
from voicefork_cli.measure.tones import Toned, tone_timeline
from voicefork_cli.sim.phone import PhoneCall

from tests.e2e.ears import TONES
from tests.e2e.switchboard import AFTERWARDS_SECONDS, Scene
from tests.e2e.watch import Watch
from tests.e2e.witnessed import assert_witness_agrees

HEARD_SECONDS = 10.0
PAUSE_PACKETS = 5
BEFORE_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Story:
    """A handoff from the escalation to two seconds of conversation, and what stood then."""

    scene: Scene
    agent: PhoneCall
    watch: Watch
    connected: pb.Handoff
    last: pb.Handoff
    channels: list[str]
    bridges: list[str]
    forks: int
    contexts: list[tuple[int, dict[str, Any]]]
    spoke_first: bool

    @property
    def connected_ns(self) -> int:
        return nanoseconds(self.connected)

    @property
    def to_ns(self) -> int:
        return self.connected_ns + round(AFTERWARDS_SECONDS * 1e9)

    @property
    def packets(self) -> list[Packet]:
        """What the caller got, from just before the escalation on."""
        begun = self.scene.escalated_ns - BEFORE_NS
        return [p for p in self.scene.caller.heard if begun <= p.arrival_ns < self.to_ns]

    @property
    def order(self) -> list[set[float]]:
        """The caller's ear: the tones in their order."""
        return [
            set(each.hz) for each in tone_timeline(self.packets, TONES) if not self._pause(each)
        ]

    def _pause(self, stretch: Toned) -> bool:
        """Between the last word and the music, which waits for the word's end."""
        return not stretch.hz and stretch.packets <= PAUSE_PACKETS and self.spoke_first


def nanoseconds(handoff: pb.Handoff) -> int:
    return int(handoff.changed_at.ToNanoseconds())


async def told(scene: Scene, watch: Watch, *, spoke_first: bool = False) -> Story:
    """From an escalation that was just made to the end of the story."""
    connected = await watch.until(pb.PHASE_CONNECTED)
    last = await watch.settled()
    board = scene.board
    story = Story(
        scene,
        scene.calls_to()[0],
        watch,
        connected,
        last,
        await scene.channels(),
        await scene.bridges(),
        len(await board.stage.calls_of_worker(board.worker)),
        await board.contexts(scene.call_id),
        spoke_first,
    )
    async with asyncio.timeout(HEARD_SECONDS):
        while scene.caller.heard[-1].arrival_ns < story.to_ns:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return story


def assert_seamless(story: Story) -> None:
    """Bot, music and agent without silence or nothing in between."""
    story.scene.assert_never_alone(story.to_ns)


def assert_witness_agrees_with(story: Story) -> None:
    """With what the caller heard meanwhile."""
    heard, begun = story.scene.caller.heard, story.scene.escalated_ns
    assert_witness_agrees(story.last.timing.dead_air_ms, heard, begun, story.to_ns)
