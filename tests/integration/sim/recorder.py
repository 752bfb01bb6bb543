"""A recorder of the plainest kind: answers SIPREC INVITEs and keeps what comes on each label."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from voicefork_cli.measure.packets import Packet
from voicefork_cli.sim.dialog import Dialog
from voicefork_cli.sim.endpoint import SipEndpoint, open_sip
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.message import Message, tag_of
from voicefork_cli.sim.pacer import Pacer
from voicefork_cli.sim.rtp_port import RtpPort, open_rtp_port
from voicefork_cli.sim.sdp import audio_lines

from tests.builders.virtual_time import eventually

FAILURE_SECONDS = 20.0  # for what is there in milliseconds, unless something is wrong


@dataclass
class Manners:
    """How the recorder answers."""

    status: int = 200
    after_seconds: float = 0.03
    leave_out: str = ""  # a codec it does not answer
    reinvite_status: int = 200


@dataclass
class Recording:
    invite: Message
    dialog: Dialog
    flow: Flow
    invited_ns: int = field(default_factory=time.time_ns)
    ports: dict[str, RtpPort] = field(default_factory=dict)
    requests: list[Message] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, label: str) -> list[Packet]:
        return self.ports[label].heard

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    async def acknowledged(self, times: int = 1) -> None:
        """So many INVITEs have been answered 200 and acknowledged: nothing is under way."""
        await eventually(lambda: self.methods.count("ACK") >= times, FAILURE_SECONDS)

    async def ended(self) -> None:
        async with asyncio.timeout(FAILURE_SECONDS):
            await self.over.wait()


class Recorder:
    def __init__(self, endpoint: SipEndpoint, pacer: Pacer, ports: AsyncExitStack) -> None:
        self.manners = Manners()
        self.recordings: list[Recording] = []
        self.invites: list[Message] = []
        self.invited = asyncio.Event()
        self._endpoint = endpoint
        self._pacer = pacer
        self._ports = ports
        endpoint.on_request = self._requested

    def uri(self, transport: str = "tcp") -> str:
        return self._endpoint.uri("srs", transport)

    async def recording(self) -> Recording:
        async with asyncio.timeout(FAILURE_SECONDS):
            await self.invited.wait()
        return self.recordings[-1]

    def answer_sdp(self, recording: Recording) -> bytes:
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=SRS", "c=IN IP4 127.0.0.1", "t=0 0"]
        for offered in audio_lines(recording.invite.body):
            if offered.label not in recording.ports:
                recording.ports[offered.label] = self._ports.enter_context(
                    open_rtp_port(self._pacer)
                )
            taken = [
                (kind, codec)
                for kind, codec in zip(offered.payload_types, offered.codecs, strict=True)
                if not self.manners.leave_out or not codec.startswith(self.manners.leave_out)
            ]
            port = recording.ports[offered.label].address[1]
            lines += [
                f"m=audio {port} RTP/AVP {' '.join(str(kind) for kind, _ in taken)}",
                *(f"a=rtpmap:{kind} {codec}" for kind, codec in taken),
                "a=recvonly",
                f"a=label:{offered.label}",
            ]
        return "".join(f"{line}\r\n" for line in lines).encode()

    async def reinvite(self, recording: Recording) -> Message:
        """Moves the fork to the ports the recorder now has, as an adopting worker does."""
        via = f"{recording.flow.transport} 127.0.0.1:{self._endpoint.port}"
        request = recording.dialog.request("INVITE", via, body=self.answer_sdp(recording))
        transaction = self._endpoint.begin(request, recording.flow)
        answer = await transaction.final(FAILURE_SECONDS)
        if answer.status == 200:
            ack = recording.dialog.request("ACK", via, cseq=answer.cseq)
            recording.flow.send(ack.encode())
        return answer

    async def request(self, recording: Recording, method: str) -> Message:
        via = f"{recording.flow.transport} 127.0.0.1:{self._endpoint.port}"
        request = recording.dialog.request(method, via)
        return await self._endpoint.begin(request, recording.flow).final(FAILURE_SECONDS)

    def _requested(self, request: Message, flow: Flow) -> None:
        known = next((r for r in self.recordings if r.invite.call_id == request.call_id), None)
        if known is not None:
            known.requests.append(request)
            self._within(known, request, flow)
        elif request.method == "INVITE":
            self.invites.append(request)
            dialog = Dialog.answering(request, f"<{self.uri(flow.transport.lower())}>;+sip.srs")
            recording = Recording(request, dialog, flow, requests=[request])
            loop = asyncio.get_running_loop()
            loop.call_later(self.manners.after_seconds, self._answer, recording, flow)

    def _within(self, recording: Recording, request: Message, flow: Flow) -> None:
        if request.method == "INVITE" and self.manners.reinvite_status != 200:
            refusal = request.reply(self.manners.reinvite_status, "No")
            self._endpoint.reply(request, flow, refusal)
        elif request.method == "INVITE":
            self._accept(recording, request, flow)
        elif request.method != "ACK":
            self._endpoint.reply(request, flow, request.reply(200, "OK"))
        if request.method == "BYE":
            recording.over.set()

    def _answer(self, recording: Recording, flow: Flow) -> None:
        if self.manners.status != 200:
            refusal = recording.invite.reply(self.manners.status, "No", to_tag="srs")
            self._endpoint.reply(recording.invite, flow, refusal)
            return
        self.recordings.append(recording)
        self.invited.set()
        self._accept(recording, recording.invite, flow)

    def _accept(self, recording: Recording, invite: Message, flow: Flow) -> None:
        headers = [("Contact", recording.dialog.contact), ("Content-Type", "application/sdp")]
        body = self.answer_sdp(recording)
        tag = tag_of(recording.dialog.local)
        self._endpoint.reply(
            invite, flow, invite.reply(200, "OK", to_tag=tag, headers=headers, body=body)
        )


@asynccontextmanager
async def open_recorder(pacer: Pacer) -> AsyncIterator[Recorder]:
    async with AsyncExitStack() as ports, open_sip() as endpoint:
        yield Recorder(endpoint, pacer, ports)
