"""A worker's inside without SIP and gRPC: calls made from offers, real sockets, real ticks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager

from siprec_worker.config import Settings
from siprec_worker.media.deferred import InlineLane
from siprec_worker.media.model import AudioFormat, LegAudio
from siprec_worker.net.media_sockets import TickedSockets
from siprec_worker.net.rtp_ports import RtpPorts
from siprec_worker.net.rtp_tick import RtpTick
from siprec_worker.protocol.multipart import RecordingBody
from siprec_worker.protocol.sdp import SessionDescription, parse_sdp
from siprec_worker.protocol.sip.events import Confirmed, DialogId, DialogState, HungUp, Invited
from siprec_worker.protocol.sip.message import Request
from siprec_worker.protocol.sip.parsing import parse_message
from siprec_worker.session import effects as fx
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import RecordedCall, Surroundings
from siprec_worker.session.intake import Intake
from siprec_worker.session.model import (
    Close,
    FromAgent,
    Open,
    Opened,
    ToAgent,
)
from siprec_worker.session.registry import Calls
from siprec_worker.session.routes import Routes
from siprec_worker.telemetry import Metrics

HOST = "127.0.0.1"
LIMIT = 20.0  # seconds
DIALOG = DialogId("dialog")
PORTS = (42_000, 44_000)
_INVITE = (
    b"INVITE sip:srs@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKx\r\n"
    b"From: <sip:src@127.0.0.1>;tag=a\r\nTo: <sip:srs@127.0.0.1>\r\nCall-ID: c@x\r\n"
    b"CSeq: 1 INVITE\r\nContact: <sip:src@127.0.0.1>\r\nContent-Length: 0\r\n\r\n"
)


class Agent:
    """A connector and the one stream it makes; opens at once with what it is told to choose."""

    def __init__(self, chosen: AudioFormat | None = None) -> None:
        self.chosen = chosen
        self.opening: Open | None = None
        self.audio: list[tuple[int, Sequence[LegAudio]]] = []
        self.messages: list[ToAgent] = []
        self.say: Callable[[FromAgent], None] = lambda _: None

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> Agent:
        self.opening, self.say = opening, receiver
        uplink = self.chosen or opening.uplink
        legs = tuple(leg.handle for leg in opening.legs)
        opened = Opened(uplink, opening.chunk_ms, opening.downlink_choices[0], legs)
        asyncio.get_running_loop().call_soon(receiver, opened)
        return self

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        self.audio.append((pts, legs))

    def send(self, message: ToAgent) -> None:
        self.messages.append(message)

    def close(self, close: Close) -> None:
        """Nothing is left to do."""

    def abandon(self) -> None:
        """Nobody does."""

    @property
    def outstanding(self) -> tuple[int, int]:
        return 0, 0

    def left(self) -> tuple[bytes, ...]:
        return ()

    def flush(self) -> None:
        """Everything was taken at once."""

    async def aclose(self) -> None:
        """Nothing is left to do."""

    def heard(self, leg: int = 1) -> bytes:
        return b"".join(one.data for _, legs in self.audio for one in legs if one.handle == leg)


class _Quiet:
    """An orchestrator that is not there."""

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None:
        """Nobody is told."""

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None:
        """Nobody is told."""

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        """Nobody is told."""

    def report(self, call_id: str, news: fx.News) -> None:
        """Nobody is told."""


class Side:
    """The SIP side: keeps the answers."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.refusals: list[int] = []

    def accept(self, of: DialogId, sdp: bytes, headers: Iterable[tuple[str, str]] = ()) -> bool:
        self.answers.append(sdp)
        return True

    def reject(
        self, of: DialogId, status: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> bool:
        self.refusals.append(status)
        return True

    def adopt(self, state: DialogState) -> DialogId:
        return state.id

    def reinvite(self, of: DialogId, offer: bytes) -> bool:
        return False

    def hand_over(self, of: DialogId) -> bool:
        return False

    def outrun(self, of: DialogId) -> bool:
        return False

    def dialog_state(self, of: DialogId) -> DialogState | None:
        return None

    def bye(self, of: DialogId, reason: str = "") -> bool:
        return True


class Recorder:
    """One call of a worker, from its first offer to its end."""

    def __init__(self, intake: Intake, calls: Calls, side: Side, agent: Agent) -> None:
        self._intake = intake
        self._calls = calls
        self.side = side
        self.agent = agent

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def call(self) -> RecordedCall:
        call = self._calls.by_dialog(DIALOG)
        assert call is not None
        return call

    def offer(self, sdp: bytes) -> SessionDescription:
        """An INVITE and its ACK; the answer."""
        request = parse_message(_INVITE)
        assert isinstance(request, Request)
        known = self._calls.by_dialog(DIALOG) is not None
        body = RecordingBody(sdp, None, ())
        self._intake.handle(Invited(DIALOG, request, known, body), self.now)
        assert self.side.answers, self.side.refusals
        self._intake.handle(Confirmed(DIALOG, b""), self.now)
        return parse_sdp(self.side.answers[-1])

    def hang_up(self) -> None:
        self._intake.handle(HungUp(DIALOG, True, "bye"), self.now)

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not check():  # noqa: ASYNC110 - ticks go by
                await asyncio.sleep(0.01)


@asynccontextmanager
async def open_recorder(agent: Agent, **settings: object) -> AsyncIterator[Recorder]:
    """A recorder whose every call is heard by `agent`."""
    chosen = Settings.model_validate({"agent": "test:", "dial": "fork", **settings})
    with ExitStack() as stack:
        tick = stack.enter_context(RtpTick())
        calls, side = Calls(), Side()
        builder = CallBuilder(
            settings=chosen,
            host=HOST,
            sockets=TickedSockets(RtpPorts(HOST, *PORTS), tick),
            around=Surroundings({"test:": agent}, _Quiet(), lambda: 0.0, lambda *_: None),
            routes=Routes((), chosen.usual_route),
            metrics=Metrics(),
            fresh_id=lambda: "fresh",
            lane=InlineLane(),  # a thread would have a clock of its own
        )
        recorder = Recorder(Intake(side, calls, builder), calls, side, agent)

        def on_tick(now: float) -> None:
            for call in calls.live():
                call.tick(now)

        tick.add_listener(on_tick)
        try:
            yield recorder
        finally:
            if calls.by_dialog(DIALOG) is not None:
                recorder.hang_up()


class Source:
    """A recording client's RTP and RTCP sockets."""

    def __init__(self) -> None:
        self.rtp, self.rtcp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self.rtp, self.rtcp):
            sock.bind((HOST, 0))
            sock.setblocking(False)

    @property
    def port(self) -> int:
        return int(self.rtp.getsockname()[1])

    @property
    def rtcp_port(self) -> int:
        return int(self.rtcp.getsockname()[1])

    async def stream(self, packets: Iterable[bytes], port: int, seconds: float = 0.02) -> None:
        """A packet every 20 ms."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for packet in packets:
            self.rtp.sendto(packet, (HOST, port))
            due += seconds
            await asyncio.sleep(due - loop.time())

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()
