"""Where a fork's audio comes from: rtpengine's copies, or streams of our own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from voicefork_cli.sim.errors import NgError
from voicefork_cli.sim.ng import NgClient
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.rs_metadata import CALLEE, CALLER, LabelledStream
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port
from voicefork_cli.sim.sdp import (
    PAYLOAD_TYPES,
    TELEPHONE_EVENT,
    AudioLine,
    audio_lines,
    fork_sdp,
    missing_codecs,
)
from voicefork_cli.sim.source import Source


@dataclass(frozen=True, slots=True)
class ForkOffer:
    """The SDP to offer a recorder, and who speaks on which label."""

    sdp: bytes
    streams: tuple[LabelledStream, ...]


class ForkMedia(Protocol):
    async def offer(self) -> ForkOffer:
        """The offer; again for a re-INVITE, unchanged where nothing has changed."""

    async def answered(self, sdp: bytes) -> None:
        """Sends to where the answer says. Raises NgError where the answer is not accepted."""

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RelayedCall:
    """A call in rtpengine: its Call-ID and both parties' tags."""

    call_id: str
    caller_tag: str
    callee_tag: str


class NgForkMedia:
    """rtpengine's copies of both legs of one call, by subscription, as the siprec module does."""

    def __init__(self, ng: NgClient, call: RelayedCall, *, allow_transcoding: bool = False) -> None:
        self._ng = ng
        self._call = call
        self._allow_transcoding = allow_transcoding
        self._subscription = ""

    async def offer(self) -> ForkOffer:
        subscribed = await self._ng.subscribe_request(
            self._call.call_id,
            self._call.callee_tag,
            to_tag=self._subscription,
            allow_transcoding=self._allow_transcoding,
        )
        self._subscription = subscribed.to_tag
        caller = self._call.caller_tag
        streams = (
            LabelledStream(CALLER if media.from_tag == caller else CALLEE, media.label)
            for media in subscribed.media
        )
        return ForkOffer(subscribed.sdp, tuple(streams))

    async def answered(self, sdp: bytes) -> None:
        await self._ng.subscribe_answer(
            self._call.call_id, self._subscription, sdp, allow_transcoding=self._allow_transcoding
        )

    async def stop(self) -> None:
        await self._ng.unsubscribe(self._call.call_id, self._subscription)


class DirectMedia:
    """Two RTP ports of our own in rtpengine's place. Made by `open_direct_media`."""

    def __init__(self, caller: RtpPort, callee: RtpPort) -> None:
        self.caller = caller
        self.callee = callee
        kind = PAYLOAD_TYPES[caller.codec]
        # Labels as rtpengine gives them in a call with an early offer: caller 1, callee 0.
        self._lines = [
            AudioLine(
                *port.address,
                (kind, TELEPHONE_EVENT),
                (f"{port.codec}/8000", "telephone-event/8000"),
                "sendonly",
                label,
            )
            for port, label in ((caller, "1"), (callee, "0"))
        ]
        self._session = secrets.randbits(62)

    async def offer(self) -> ForkOffer:
        streams = (LabelledStream(CALLER, "1"), LabelledStream(CALLEE, "0"))
        return ForkOffer(fork_sdp(self._lines, self._session), streams)

    async def answered(self, sdp: bytes) -> None:
        answers = audio_lines(sdp)
        if len(answers) != len(self._lines):
            raise NgError(f"{len(answers)} audio lines in the answer to {len(self._lines)}")
        for offered, answer in zip(self._lines, answers, strict=True):
            if missing := missing_codecs(offered, answer):
                raise NgError(f"source codec {missing[0]} is not present in the answer")
        self.caller.remote, self.callee.remote = (answer.address for answer in answers)

    async def stop(self) -> None:
        self.caller.remote = self.callee.remote = None


@contextmanager
def open_direct_media(
    pacer: Pacer, caller: Source, callee: Source, *, host: str = "127.0.0.1", codec: str = "PCMU"
) -> Iterator[DirectMedia]:
    """Both legs from sources of our own; nothing is kept but counters."""
    with (
        open_rtp_port(pacer, host=host, codec=codec, keep=False) as one,
        open_rtp_port(pacer, host=host, codec=codec, keep=False) as other,
    ):
        one.play(caller)
        other.play(callee)
        yield DirectMedia(one, other)
