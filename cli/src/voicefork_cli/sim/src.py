"""A SIPREC client (RFC 7866) that behaves as OpenSIPS 3.6.8's siprec module does, faults included.

    start()   INVITE to each SRS of the list in turn; 200 -> ACK; its SDP goes to the media, and
              where that is refused (a codec is missing) BYE follows at once
    refresh() re-INVITE with the full metadata, without the X- headers; a refusal changes nothing
    stop()    BYE, to the Contact of the first 200 whatever came later, or to the owner found

What the SRS may do within the dialog: re-INVITE (200 with the offer when its SDP is accepted,
else 488), UPDATE (200), BYE (405, the fork goes on), anything else 405.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from voicefork_cli.sim.endpoint import T1, T2, SipEndpoint
from voicefork_cli.sim.errors import CallTimeout, NgError
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.fork_media import ForkMedia
from voicefork_cli.sim.message import Header, Message, parse_uri
from voicefork_cli.sim.rs_metadata import MetadataWriter, RecordedCall, recording_body
from voicefork_cli.sim.src_wire import RECORDING_HEADERS, SrcDialog
from voicefork_cli.sim.tasks import TaskOwner

REFUSED = 300
OK = 200
Owner = Callable[[str], Awaitable[str | None]]


class ForkState(Enum):
    IDLE = "idle"
    INVITING = "inviting"
    RECORDING = "recording"
    REFUSED = "refused"  # every SRS refused or was silent, or an answer was not accepted
    LOST = "lost"  # the 200 came too early and was dropped: no ACK, no RTP, no BYE
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SrcSettings:
    """How the client behaves.

    Faults of the real thing, to be shown or not: a 200 sooner after the INVITE than
    `drops_answers_before_ms` is lost without a word: OpenSIPS marks the session as
    started only after the INVITE is out (siprec_logic.c, srs_send_invite), and drops it until then;
    `reinvite_status` is what the SRS's re-INVITE gets, whatever it says.
    """

    drops_answers_before_ms: float = 0.0
    reinvite_status: int | None = None
    no_answer_seconds: float = 1.0  # what our script's $T_fr_timeout of 2 is at least
    after_trying_seconds: float = 30.0  # tm's fr_inv_timeout
    bye_seconds: float = 2.0
    owner: Owner | None = None  # what local_route asks Redis: who has this dialog now?
    from_uri: str = ""  # $siprec(from_uri); the SRS's own URI where empty


DEFAULTS = SrcSettings()


class SiprecClient:
    """One recording of one call."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        media: ForkMedia,
        call: RecordedCall,
        settings: SrcSettings = DEFAULTS,
    ) -> None:
        self.state = ForkState.IDLE
        self.reason = ""  # of REFUSED
        self.call = call
        self.requests: list[Message] = []  # what the SRS sent within the dialog
        self.answer = b""  # the SDP last accepted
        self.tried: list[str] = []
        self.rescued = False  # by the SRS's re-INVITE: OpenSIPS then sends no BYE at the end
        self.dialog: SrcDialog | None = None
        self._endpoint = endpoint
        self._media = media
        self._settings = settings
        self._metadata = MetadataWriter(call, datetime.now(UTC))
        self._awaited: dict[str, asyncio.TimerHandle] = {}  # our 200s without an ACK, by branch
        self._tasks = TaskOwner()

    @property
    def call_id(self) -> str:
        """The recording dialog's Call-ID; empty before start()."""
        return self.dialog.call_id if self.dialog else ""

    async def start(self, srs_uris: Sequence[str], headers: Sequence[Header] = ()) -> ForkState:
        """Tries each SRS in turn. Gives RECORDING, REFUSED or LOST; raises NgError, no SIP errors.

        Args:
            headers: `$siprec(headers)`, on every first INVITE.
        """
        self.state = ForkState.INVITING
        offer = await self._media.offer()
        body = recording_body(offer.sdp, self._metadata.write(offer.streams))
        for uri in srs_uris:
            self.tried.append(uri)
            try:
                if await self._invited(uri, [*headers, *RECORDING_HEADERS], body):
                    return self.state
            except CallTimeout as error:
                self.reason = str(error)
        self.state = ForkState.REFUSED
        self._forget()
        return self.state

    async def refresh(self) -> int:
        """Re-INVITEs, as on hold, resume and pause. Gives the final status, 408 for none."""
        dialog = self._running()
        offer = await self._media.offer()
        body = recording_body(offer.sdp, self._metadata.write(offer.streams))
        request = dialog.request("INVITE", headers=RECORDING_HEADERS, body=body)
        try:
            flow = await self._flow(dialog)
            transaction = self._endpoint.begin(request, flow)
            answer = await transaction.final(self._settings.after_trying_seconds)
        except CallTimeout:
            return 408
        if answer.status < REFUSED:
            transaction.ack = await self._acknowledge(dialog, answer)
            await self._take_answer(answer.body)
        return answer.status

    async def indialog(self, method: str, headers: Sequence[Header], body: bytes) -> int:
        """siprec_send_indialog(): any request within the dialog. Gives its final status."""
        dialog = self._running()
        request = dialog.request(method, headers=headers, body=body)
        transaction = self._endpoint.begin(request, await self._flow(dialog))
        return (await transaction.final(self._settings.bye_seconds)).status

    async def stop(self) -> None:
        """The call is over. Never raises for an SRS that does not answer."""
        ended, self.state = self.state, ForkState.STOPPED
        if ended is ForkState.RECORDING and self.dialog is not None:
            if not self.rescued:
                await self._bye(self.dialog)
            await self._media.stop()
        elif ended is ForkState.LOST:
            await self._media.stop()
        self._forget()
        await self._tasks.close()

    async def _invited(self, uri: str, headers: Sequence[Header], body: bytes) -> bool:
        transport = parse_uri(uri).transport
        dialog = self.dialog = SrcDialog(
            uri,
            self._settings.from_uri or uri,
            self._endpoint.uri(transport=transport),
            f"{transport.upper()} {self._endpoint.host}:{self._endpoint.port}",
        )
        flow = await self._endpoint.flow_to(uri)
        self._endpoint.calls[dialog.call_id] = self._requested
        request = dialog.request("INVITE", headers=headers, body=body)
        loop = asyncio.get_running_loop()
        sent = loop.time()
        transaction = self._endpoint.begin(request, flow)
        answer = await transaction.response(self._settings.no_answer_seconds)
        if answer.status < OK:
            answer = await transaction.final(self._settings.after_trying_seconds)
        if answer.status >= REFUSED:
            self.reason = f"{answer.status} {answer.reason}"
            self._endpoint.calls.pop(dialog.call_id, None)
            return False
        dialog.established(answer)
        if (loop.time() - sent) * 1000 < self._settings.drops_answers_before_ms:
            self.state = ForkState.LOST
            return True
        transaction.ack = await self._acknowledge(dialog, answer)
        self.state = ForkState.RECORDING
        await self._take_answer(answer.body)
        return True

    async def _take_answer(self, sdp: bytes) -> None:
        try:
            await self._media.answered(sdp)
        except NgError as error:
            # srec_b2b_notify, no_recording: BYE 0 ms after the ACK, no failover
            self.reason = str(error)
            self.state = ForkState.REFUSED
            if self.dialog is not None:
                await self._bye(self.dialog)
            await self._media.stop()
        else:
            self.answer = sdp

    async def _acknowledge(self, dialog: SrcDialog, answer: Message) -> Message:
        dialog.established(answer)
        ack = dialog.request("ACK")
        (await self._flow(dialog)).send(ack.encode())
        return ack

    async def _bye(self, dialog: SrcDialog) -> None:
        try:
            transaction = self._endpoint.begin(dialog.request("BYE"), await self._flow(dialog))
            await transaction.final(self._settings.bye_seconds)
        except CallTimeout:
            return  # tm gives up just so: the SRS must end on RTP silence

    async def _flow(self, dialog: SrcDialog) -> Flow:
        find_owner = self._settings.owner
        owner = await find_owner(dialog.call_id) if find_owner else None
        return await self._endpoint.flow_to(owner or dialog.next_hop)

    def _running(self) -> SrcDialog:
        if self.dialog is None or self.state is not ForkState.RECORDING:
            raise RuntimeError(f"no recording runs: {self.state}")
        return self.dialog

    def _forget(self) -> None:
        self._endpoint.calls.pop(self.call_id, None)
        for timer in self._awaited.values():
            timer.cancel()
        self._awaited.clear()

    # --- what the SRS asks ------------------------------------------------------------------

    def _requested(self, request: Message, flow: Flow) -> None:
        self.requests.append(request)
        dialog = self.dialog
        if dialog is None:
            return
        match request.method:
            case "ACK":
                for timer in self._awaited.values():
                    timer.cancel()
                self._awaited.clear()
            case "INVITE":
                trying = dialog.reply(request, 100, "Giving it a try")
                flow.send(trying.encode())
                self._tasks.start(self._reinvited(dialog, request, flow))
            case "UPDATE" if not request.body:
                self._endpoint.reply(request, flow, dialog.reply(request, 200, "OK"))
            case _:
                refusal = dialog.reply(request, 405, "Method not Allowed")
                self._endpoint.reply(request, flow, refusal)

    async def _reinvited(self, dialog: SrcDialog, request: Message, flow: Flow) -> None:
        refusal = self._settings.reinvite_status
        try:
            if refusal not in (None, OK):
                raise NgError(f"told to answer {refusal}")  # noqa: TRY301 - as rtpengine would
            await self._media.answered(request.body)
        except NgError:
            status = refusal or 488
            answer = dialog.reply(request, status, "Not Acceptable Here", request.body)
            self._endpoint.reply(request, flow, answer)
            return
        offer = await self._media.offer()
        self.answer = request.body
        if self.state is ForkState.LOST:
            self.state, self.rescued = ForkState.RECORDING, True
        answer = dialog.reply(request, OK, "OK", offer.sdp)
        self._endpoint.reply(request, flow, answer)
        if flow.transport == "UDP":
            self._await_ack(request.branch, answer.encode(), flow, T1)

    def _await_ack(self, branch: str, answer: bytes, flow: Flow, after: float) -> None:
        def again() -> None:
            flow.send(answer)
            self._await_ack(branch, answer, flow, min(2 * after, T2))

        self._awaited[branch] = asyncio.get_running_loop().call_later(after, again)
