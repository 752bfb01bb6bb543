"""The state of one call on the agent's side; it outlives the stream that carries it."""

from __future__ import annotations

import asyncio
import logging

from voicefork.agent.v1 import agent_pb2 as pb

from voicefork_sdk.acks import Acks
from voicefork_sdk.errors import CallEnded
from voicefork_sdk.escalation import Escalation
from voicefork_sdk.events import (
    CallState,
    Close,
    Event,
    Freeze,
    HandoffUpdate,
    PlayState,
    Resumed,
)
from voicefork_sdk.inbox import Inbox
from voicefork_sdk.model import CallStatus, CloseReason, Opening, Phase
from voicefork_sdk.options import AgentOptions
from voicefork_sdk.outbox import Outbox
from voicefork_sdk.playout import Playout
from voicefork_sdk.wire import EventReader

log = logging.getLogger(__name__)

_ACK_IDLE_SECONDS = 0.4  # the contract: at most 500 ms between what was taken and its Ack
_BUFFER_MARGIN_MS = 200
_THAWING = (Phase.RETURNED, Phase.FAILED, Phase.CANCELLED)


class Conversation:
    """Takes requests from the stream, gives responses to it, and holds what the Call shows."""

    def __init__(self, opening: Opening, options: AgentOptions) -> None:
        limits = opening.limits
        self.opening = opening
        self._no_ack = options.no_ack
        # Half of what the worker may have un-acked: a stalled on_call loses its oldest audio here,
        # and is told; the acknowledgements, and with them the stream, go on.
        inbox_ms = min(options.inbox_ms, limits.max_unacked_ms // 2)
        self.inbox = Inbox(opening.uplink, opening.chunk_ms, inbox_ms)
        self.outbox = Outbox()
        self.playout = Playout(
            max(0, min(options.ahead_ms, limits.playout_buffer_ms - _BUFFER_MARGIN_MS))
        )
        self.status = CallStatus.UNSPECIFIED
        self.freeze: Freeze | None = None
        self.is_ended = False  # Close came, or the stream is lost for good
        self._acks = Acks(options.ack_ms)
        self._reader = EventReader(opening.legs)
        self._escalations: dict[str, Escalation] = {}
        self._changed = asyncio.Event()
        self._stream = 0
        self._opened: pb.ConverseResponse | None = None  # still to be said on this stream

    # --- the stream's side ---------------------------------------------------------------------

    def attach(self, opened: pb.ConverseResponse) -> int:
        """A stream carries the conversation from now on; its number, for `next_response`."""
        self._stream += 1
        if self._stream > 1:
            self._acks.restart()
            self.inbox.restart()
            self.inbox.put(Resumed(), 0)
        self._opened = opened
        self.outbox.wake()
        return self._stream

    def is_carried_by(self, stream: int) -> bool:
        return stream == self._stream

    def receive(self, request: pb.ConverseRequest) -> None:
        """One message of the worker."""
        event = self._reader.read(request)
        match event:
            case CallState(status):
                self.status = status
            case PlayState():
                self.playout.received(event)
            case Freeze():
                self._freeze(event)
            case HandoffUpdate():
                self._handoff_changed(event)
            case Close():
                self.end(event)
            case _:
                pass
        self._took(self.inbox.put(event, request.seq))
        self._changed.set()

    def end(self, close: Close) -> None:
        """Nothing more will come or be heard; on_call gets `close` as its last event."""
        self.is_ended = True
        self.inbox.close(close)
        self.outbox.close()
        for escalation in self._escalations.values():
            escalation.call_ended(close.reason)
        self._changed.set()

    def lose(self) -> None:
        """The stream is gone and nobody resumed it."""
        self.end(Close(CloseReason.FORK_LOST, "the stream was lost"))

    async def next_response(self, stream: int) -> pb.ConverseResponse | None:
        """What to write next on this stream; None when there is nothing more to come."""
        while self.is_carried_by(stream):
            if (opened := self._opened) is not None:
                self._opened = None
                return opened
            if self._acks.is_due and (ack := self._ack()) is not None:
                return ack
            if self.outbox:
                self._changed.set()  # there may be room for speech again
                return self.outbox.pop()
            if self.outbox.is_closed:
                return None
            try:
                async with asyncio.timeout(_ACK_IDLE_SECONDS):
                    await self.outbox.wait()
            except TimeoutError:
                if (ack := self._ack()) is not None:
                    return ack
        return None

    def _ack(self) -> pb.ConverseResponse | None:
        seq = self.inbox.taken_seq
        if self._no_ack or not self._acks.acknowledge(seq):
            return None
        return pb.ConverseResponse(ack=pb.Ack(seq=seq, pts=self.inbox.taken_pts))

    def _freeze(self, freeze: Freeze) -> None:
        self.freeze = freeze
        others = self.playout.others_than(freeze.except_utterance_id)
        self.outbox.withdraw_speech(others)
        self.playout.cut(others)

    def _handoff_changed(self, update: HandoffUpdate) -> None:
        if update.phase in _THAWING:
            self.freeze = None
        if (escalation := self._escalations.get(update.request_id)) is not None:
            escalation.received(update)

    # --- the call's side -----------------------------------------------------------------------

    async def take(self) -> Event:
        event, audio_ms = await self.inbox.take()
        self._took(audio_ms)
        return event

    def clear(self, utterance_ids: tuple[str, ...], fade_ms: int) -> None:
        """Withdraws what was not sent yet, and silences what was. None named: everything."""
        named = utterance_ids or None
        self.outbox.withdraw_speech(named)
        self.playout.cut(named)
        clear = pb.Clear(utterance_ids=utterance_ids, fade_ms=fade_ms)
        self.outbox.put(pb.ConverseResponse(clear=clear), first=True)
        self._changed.set()

    def follow(self, escalation: Escalation) -> Escalation:
        """Its updates go there; the same request asked again is the same escalation."""
        return self._escalations.setdefault(escalation.request_id, escalation)

    async def has_room(self, utterance_id: str, milliseconds: float, *, aside: bool) -> bool:
        """Waits until so much more speech fits; False when the utterance was cut."""
        while not self.is_ended:
            if self.playout.is_cut(utterance_id):
                return False
            if self.playout.has_room(milliseconds, aside=aside) and self.outbox.has_room:
                return True
            await self.change()
        raise CallEnded("the call is over")

    async def change(self) -> None:
        """Returns after the next message of the worker. Raises CallEnded once it is over."""
        if self.is_ended:
            raise CallEnded("the call is over")
        self._changed.clear()
        await self._changed.wait()

    def _took(self, audio_ms: float) -> None:
        if audio_ms:
            self._acks.took(audio_ms)
            if self._acks.is_due:
                self.outbox.wake()
