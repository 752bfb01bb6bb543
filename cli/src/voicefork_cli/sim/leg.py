"""One party's end of an ordinary telephone call: what caller and agent's phone have in common."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.measure.packets import Packet, Sent
from voicefork_cli.sim.dialog import Dialog, contact_uri
from voicefork_cli.sim.endpoint import SipEndpoint
from voicefork_cli.sim.errors import CallRefused, CallTimeout, WireError
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.message import Message, is_final
from voicefork_cli.sim.referral import Referral
from voicefork_cli.sim.rtp_port import RtpPort
from voicefork_cli.sim.sdp import AudioLine, audio_lines, phone_sdp
from voicefork_cli.sim.source import Source
from voicefork_cli.sim.wav import write_conversation

BYE_SECONDS = 2.0
REINVITE_SECONDS = 5.0
REFER_SECONDS = 5.0
REFUSED = 300
EVENTS_KEPT = 10_000
_MIRRORED = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Something of the signalling, and when (CLOCK_REALTIME)."""

    at_ns: int
    text: str


class Leg:
    """A dialog, an RTP port, and a diary."""

    def __init__(self, endpoint: SipEndpoint, rtp: RtpPort) -> None:
        self.endpoint = endpoint
        self.rtp = rtp
        self.dialog: Dialog | None = None
        self.events: list[CallEvent] = []
        self.answered_ns: int | None = None
        self.ended_ns: int | None = None
        self.ended = asyncio.Event()
        self.remote: AudioLine | None = None
        self.referral: Referral | None = None  # None: a REFER is declined
        self.notified: list[str] = []  # sipfrag bodies of NOTIFYs
        self._version = 1
        self._direction = "sendrecv"
        self._timers: dict[str, asyncio.TimerHandle] = {}  # 200s without an ACK, by branch

    @property
    def call_id(self) -> str:
        """The SIP Call-ID of this leg; empty before it has one."""
        return self.dialog.call_id if self.dialog else ""

    @property
    def heard(self) -> list[Packet]:
        return self.rtp.heard

    @property
    def said(self) -> list[Sent]:
        return self.rtp.said

    def play(self, source: Source) -> None:
        self.rtp.play(source)

    async def press(self, digits: str, duration_ms: int = 120) -> None:
        """Presses keys (RFC 4733); returns when the last has been sent."""
        for digit in digits:
            await asyncio.sleep(self.rtp.press(digit, duration_ms) + 0.04)

    async def hold(self) -> None:
        await self.reinvite("sendonly")

    async def resume(self) -> None:
        await self.reinvite("sendrecv")

    async def reinvite(self, direction: str) -> None:
        """Offers our audio anew. Raises CallRefused, CallTimeout; the call goes on as it was."""
        dialog = self._talking()
        self._version += 1
        request = dialog.request("INVITE", self.via, body=self.sdp(direction))
        transaction = self.endpoint.begin(request, await self.endpoint.flow_to(dialog.next_hop))
        answer = await transaction.final(REINVITE_SECONDS)
        self.note(f"re-INVITE {direction}: {answer.status}")
        if answer.status >= REFUSED:
            raise CallRefused(answer.status, answer.reason)
        self._direction = direction
        dialog.target = contact_uri(answer) or dialog.target
        transaction.ack = await self.acknowledge(answer)
        self.hear_from(answer.body)

    async def refer(self, to: str, *, referred_by: str = "") -> int:
        """Asks the other side to call `to` instead of us (RFC 3515); the answer's status.

        What becomes of it comes by NOTIFY, into `notified`.
        """
        dialog = self._talking()
        by = [("Referred-By", f"<{referred_by}>")] if referred_by else []
        request = dialog.request("REFER", self.via, headers=[("Refer-To", f"<{to}>"), *by])
        flow = await self.endpoint.flow_to(dialog.next_hop)
        answer = await self.endpoint.begin(request, flow).final(REFER_SECONDS)
        self.note(f"REFER: {answer.status}")
        return answer.status

    async def hang_up(self) -> None:
        """BYE; nothing where the call is over already. Never raises for a peer that is gone."""
        if self.ended.is_set() or self.dialog is None or self.answered_ns is None:
            return
        self.finish("hung up")
        dialog = self.dialog
        bye = dialog.request("BYE", self.via)
        try:
            flow = await self.endpoint.flow_to(dialog.next_hop)
            await self.endpoint.begin(bye, flow).final(BYE_SECONDS)
        except CallTimeout as error:
            self.note(f"BYE: {error}")

    def save_wav(self, path: Path) -> None:
        """Stereo: left what this party said, right what it heard."""
        write_conversation(path, self.said, self.heard)

    def note(self, text: str) -> None:
        if len(self.events) < EVENTS_KEPT:
            self.events.append(CallEvent(time.time_ns(), text))

    # --- for the two kinds of leg ----------------------------------------------------------

    @property
    def via(self) -> str:
        return f"UDP {self.endpoint.host}:{self.endpoint.port}"

    def sdp(self, direction: str = "sendrecv") -> bytes:
        return phone_sdp(
            self.rtp.address, self.rtp.codec, direction=direction, version=self._version
        )

    def hear_from(self, sdp: bytes) -> None:
        """Sends to where `sdp` says from now on; a body without audio changes nothing."""
        try:
            line = next(iter(audio_lines(sdp)), None)
        except WireError as error:
            self.note(f"unreadable SDP: {error}")
            return
        if line is not None:
            self.remote = line
            takes = line.direction in ("sendrecv", "recvonly") and line.port
            self.rtp.remote = line.address if takes else None

    def answered(self) -> None:
        self.answered_ns = time.time_ns()
        self.note("answered")

    def finish(self, reason: str) -> None:
        if not self.ended.is_set():
            self.note(reason)
            self.ended_ns = time.time_ns()
            self.rtp.remote = None
            self.ended.set()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def acknowledge(self, answer: Message) -> Message:
        dialog = self._talking()
        ack = dialog.request("ACK", self.via, cseq=answer.cseq)
        (await self.endpoint.flow_to(dialog.next_hop)).send(ack.encode())
        return ack

    def requested(self, request: Message, flow: Flow) -> None:
        """A request within the dialog."""
        self.note(f"got {request.method}")
        match request.method:
            case "ACK":
                if timer := self._timers.pop(_ack_key(request), None):
                    timer.cancel()
                if request.body:
                    self.hear_from(request.body)
            case "BYE":
                self.endpoint.reply(request, flow, request.reply(200, "OK"))
                self.finish("the other side hung up")
            case "INVITE" | "UPDATE":
                self._offered(request, flow)
            case "REFER":
                if self.referral is None:
                    self.endpoint.reply(request, flow, request.reply(603, "Decline"))
                else:
                    self.referral.asked(self, request, flow)
            case "NOTIFY":
                self.notified.append(request.body.decode(errors="replace").strip())
                self.endpoint.reply(request, flow, request.reply(200, "OK"))
            case _:
                self.endpoint.reply(request, flow, request.reply(200, "OK"))

    def answer(self, request: Message, flow: Flow, status: int, reason: str, body: bytes) -> None:
        """A response that makes or keeps the dialog; a 200 to INVITE is repeated until its ACK."""
        dialog = self.dialog
        if dialog is None:
            raise RuntimeError("there is no dialog to answer in")
        headers = [("Contact", dialog.contact)]
        if body:
            headers.append(("Content-Type", "application/sdp"))
        response = request.reply(status, reason, headers=headers, body=body)
        response.headers = [(k, dialog.local if k == "To" else v) for k, v in response.headers]
        self.endpoint.reply(request, flow, response)
        if request.method == "INVITE" and is_final(response) and flow.transport == "UDP":
            self._await_ack(request, response.encode(), flow, 0.5)

    def _offered(self, request: Message, flow: Flow) -> None:
        if request.body:
            self.hear_from(request.body)
        if self.dialog is not None and request.get("Contact"):
            self.dialog.target = contact_uri(request)
        direction = self.remote.direction if self.remote else "sendrecv"
        self._version += 1
        body = self.sdp(_MIRRORED.get(direction, self._direction))
        wanted = request.method == "INVITE" or request.body
        self.answer(request, flow, 200, "OK", body if wanted else b"")

    def _await_ack(self, request: Message, answer: bytes, flow: Flow, after: float) -> None:
        def again() -> None:
            flow.send(answer)
            self._await_ack(request, answer, flow, min(2 * after, 4.0))

        timer = asyncio.get_running_loop().call_later(after, again)
        self._timers[_ack_key(request)] = timer

    def _talking(self) -> Dialog:
        if self.dialog is None:
            raise RuntimeError("there is no call")
        return self.dialog


def _ack_key(request: Message) -> str:
    return str(request.cseq)
