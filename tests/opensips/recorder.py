"""A recording server that answers every fork and keeps what it was told and what it heard."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from siprec_worker.protocol.legs import LegAttribution, legs
from siprec_worker.protocol.multipart import recording_body
from siprec_worker.protocol.rs_metadata_xml import parse_metadata
from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.pacer import Pacer, open_pacer
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port
from voicefork_cli.sim.sdp import AudioLine, audio_lines

# OpenSIPS 3.6.8 loses forks that are answered at once.
ANSWER_SECONDS = 0.03


class Fork:
    """One fork: its first INVITE, and the audio of each label."""

    def __init__(self, invite: Message, ports: list[RtpPort]) -> None:
        self.invite = invite
        body = recording_body(invite.get("Content-Type"), invite.body)
        assert body.sdp is not None
        self.lines: list[AudioLine] = audio_lines(body.sdp)
        self.metadata_xml: bytes = body.metadata or b""
        self.ports = ports
        self.ended = asyncio.Event()

    async def audio(self, kind: str, wanted: int = 25) -> None:
        """Waits until so many more packets of a leg have come."""
        before = len(self.heard(kind))
        async with asyncio.timeout(5):
            while len(self.heard(kind)) - before < wanted:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.02)

    @property
    def legs(self) -> list[LegAttribution]:
        """Whose voice each line is, as the metadata says."""
        return legs(parse_metadata(self.metadata_xml), [line.label for line in self.lines])

    def heard(self, kind: str) -> list[Packet]:
        """What came of the leg of that kind, "customer" or "pbx"."""
        kinds = [leg.kind for leg in self.legs]
        return list(self.ports[kinds.index(kind)].heard)


class Recorder:
    """Made by `open_recorder`."""

    def __init__(self, endpoint: SipEndpoint, pacer: Pacer, resources: ExitStack) -> None:
        self.address = f"{endpoint.host}:{endpoint.port}"
        self.uri = f"sip:{self.address};transport=tcp"
        self.forks: asyncio.Queue[Fork] = asyncio.Queue()
        self.is_silent = False
        self.answer_seconds = ANSWER_SECONDS
        self.refuses_with = 0  # 503 and the like; 0 answers
        self.requests: list[Message] = []
        self.answered: dict[str, float] = {}  # by X-Voicefork-Call: when, on the loop's clock
        self._endpoint = endpoint
        self._pacer = pacer
        self._resources = resources
        self._tags = itertools.count(1)
        self._live: dict[str, Fork] = {}
        endpoint.on_request = self._requested

    async def fork(self) -> Fork:
        async with asyncio.timeout(10):
            return await self.forks.get()

    async def asked(self, method: str) -> None:
        """Waits for a request of that method."""
        async with asyncio.timeout(5):
            while method not in [one.method for one in self.requests]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    def _requested(self, request: Message, flow: Flow) -> None:
        if self.is_silent:
            return
        self.requests.append(request)
        match request.method:
            case "OPTIONS":
                self._endpoint.reply(request, flow, request.reply(200, "OK", to_tag="options"))
            case "INVITE" if self.refuses_with:
                refusal = request.reply(self.refuses_with, "Full", to_tag="full")
                self._endpoint.reply(request, flow, refusal)
            case "INVITE":
                self._answer(request, flow)
            case "BYE":
                self._endpoint.reply(request, flow, request.reply(200, "OK"))
                if request.call_id in self._live:
                    self._live.pop(request.call_id).ended.set()

    def _answer(self, invite: Message, flow: Flow) -> None:
        fork = self._live.get(invite.call_id)
        if fork is None:
            count = invite.body.count(b"\nm=audio")
            ports = [
                self._resources.enter_context(open_rtp_port(self._pacer)) for _ in range(count)
            ]
            fork = self._live[invite.call_id] = Fork(invite, ports)
            self.forks.put_nowait(fork)
        sdp = _answer_sdp(fork)
        headers = [
            ("Contact", f"<{self._endpoint.uri('srs', 'tcp')}>;+sip.srs"),
            ("Content-Type", "application/sdp"),
        ]
        tag = f"srs{next(self._tags)}"
        answer = invite.reply(200, "OK", to_tag=tag, headers=headers, body=sdp)
        loop = asyncio.get_running_loop()

        def send() -> None:
            self._endpoint.reply(invite, flow, answer)
            self.answered.setdefault(invite.get("X-Voicefork-Call"), loop.time())

        loop.call_later(self.answer_seconds, send)


def _answer_sdp(fork: Fork) -> bytes:
    text = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    for line, port in zip(fork.lines, fork.ports, strict=True):
        # A subset of what is offered: G.711 alone.
        chosen = next(t for t in line.payload_types if t in (0, 8))
        text += [f"m=audio {port.address[1]} RTP/AVP {chosen}", f"a=label:{line.label}"]
        text.append("a=recvonly")
    return "".join(f"{line}\r\n" for line in text).encode()


@asynccontextmanager
async def open_recorder() -> AsyncIterator[Recorder]:
    async with open_sip() as endpoint:
        with ExitStack() as resources:
            pacer = resources.enter_context(open_pacer())
            yield Recorder(endpoint, pacer, resources)
