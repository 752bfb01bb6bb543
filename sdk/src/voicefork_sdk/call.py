"""One call, as the agent's coroutine sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2

from voicefork_sdk.conversation import Conversation
from voicefork_sdk.errors import CallEnded, Frozen, NotAllowed
from voicefork_sdk.escalation import Escalation
from voicefork_sdk.events import Close, Event, PlayState
from voicefork_sdk.model import Audience, Barge, CallStatus, LegKind, Opening, Role
from voicefork_sdk.options import MAX_MESSAGE_BYTES

_MAX_ESCALATION_BYTES = MAX_MESSAGE_BYTES - 1024
_SIDE_ROLES = (Role.SHADOW, Role.ASSIST)
_PIECE_MS = 500  # small enough for a Clear to overtake, large enough to be cheap


class Call:
    """What `on_call` gets. Everything that sends raises CallEnded once the call is over."""

    def __init__(self, conversation: Conversation, tasks: asyncio.TaskGroup) -> None:
        self._conversation = conversation
        self._tasks = tasks
        self._spawned: set[asyncio.Task[None]] = set()
        self._escalated = 0

    @property
    def opening(self) -> Opening:
        """Ids, legs, headers, language, and the formats agreed."""
        return self._conversation.opening

    @property
    def status(self) -> CallStatus:
        return self._conversation.status

    @property
    def is_frozen(self) -> bool:
        """True from Freeze until the handoff is over without a human (the bot has the call)."""
        return self._conversation.freeze is not None

    @property
    def may_speak(self) -> bool:
        """Answered, not frozen, and PRIMARY: what is said now is heard by the caller."""
        is_answered = self.status in (CallStatus.ANSWERED, CallStatus.ON_HOLD)
        return is_answered and not self.is_frozen and self.opening.role not in _SIDE_ROLES

    @property
    def queued_ms(self) -> float:
        """Speech sent, and not yet known to be played."""
        return self._conversation.playout.queued_ms

    @property
    def audio_dropped_ms(self) -> float:
        """Audio that on_call took too slowly, and lost."""
        return self._conversation.inbox.audio_dropped_ms

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` beside on_call; it is cancelled with the call, and its failure ends it."""
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    def cancel_spawned(self) -> None:
        for task in self._spawned:
            task.cancel()

    async def events(self) -> AsyncIterator[Event]:
        """Everything the call tells, in order; Close is the last. For one consumer.

        What stays unread for longer than AgentOptions.inbox_ms of audio is dropped (and told, Gap
        SHED): do slow work in `spawn`, not between two events.
        """
        while True:
            event = await self._conversation.take()
            yield event
            if isinstance(event, Close):
                return

    async def answered(self) -> None:
        """Returns once the callee has picked up: nothing said before is heard."""
        while self.status in (CallStatus.UNSPECIFIED, CallStatus.EARLY):
            await self._conversation.change()

    async def speak(
        self,
        utterance_id: str,
        audio: bytes,
        *,
        last: bool = True,
        barge: Barge = Barge.AUTO_CLEAR,
        audience: Audience = Audience.CUSTOMER,
    ) -> bool:
        """Says `audio` (whole samples in opening.downlink) as (a piece of) an utterance.

        Waits while the playout buffer is full, so it can never overrun. Ids should not repeat in a
        call. False: the utterance was cut (Clear, barge-in) and the rest was not sent. Raises
        Frozen, NotAllowed (not PRIMARY), CallEnded, ValueError (half a sample).
        To the AGENT alone see `tell_agent`.
        """
        aside = audience is Audience.AGENT
        spoken = self.opening.downlink
        if len(audio) % spoken.bytes_per_sample:
            raise ValueError(f"{len(audio)} bytes are not whole samples of {spoken}")
        step = spoken.size(_PIECE_MS)
        pieces = [audio[at : at + step] for at in range(0, len(audio), step)] or [b""]
        for index, piece in enumerate(pieces):
            ends = last and index == len(pieces) - 1
            self._may_speak(utterance_id, aside=aside)
            milliseconds = spoken.duration_ms(len(piece))
            if not await self._conversation.has_room(utterance_id, milliseconds, aside=aside):
                self._conversation.playout.skipped(utterance_id, last=last)
                return False
            self._may_speak(utterance_id, aside=aside)
            self._conversation.playout.sent(utterance_id, milliseconds, last=ends, aside=aside)
            self._send(
                pb.ConverseResponse(
                    speak=pb.Speak(
                        utterance_id=utterance_id,
                        data=piece,
                        last=ends,
                        barge=pb.Barge.ValueType(barge),
                        audience=pb.Audience.ValueType(audience),
                    )
                )
            )
        return True

    async def tell_agent(self, utterance_id: str, audio: bytes, *, last: bool = True) -> bool:
        """Says `audio` to the human alone; the caller hears none of it. Frozen does not stop it.

        A PRIMARY briefs the agent of a WARM_WHISPER so, from `escalate` on; an ASSIST whispers into
        the conversation after the merge. The human hears whole utterances, 30 s at most of what
        waits. FINISHED says that all of it was handed on. False: it was cut, or is too long. Raises
        as `speak` does; NotAllowed: a SHADOW.
        """
        return await self.speak(
            utterance_id, audio, last=last, barge=Barge.NOT_INTERRUPTIBLE, audience=Audience.AGENT
        )

    async def played(self, utterance_id: str) -> PlayState:
        """Waits until the utterance is FINISHED or CUT. Raises CallEnded."""
        while (ending := self._conversation.playout.ending(utterance_id)) is None:
            if self._conversation.is_ended:
                raise CallEnded(f"the call ended before {utterance_id!r} was played")
            await self._conversation.change()
        return ending

    def clear(self, *utterance_ids: str, fade_ms: int = 0) -> None:
        """Silences these utterances (none named: all), queued and playing, within 20 ms."""
        self._conversation.clear(utterance_ids, fade_ms)

    def mark(self, name: str) -> None:
        """Asks for a PlayState MARK once everything said so far has been played."""
        self._send(pb.ConverseResponse(mark=pb.Mark(name=name)))

    def barge_verdict(self, utterance_id: str, *, interrupt: bool) -> None:
        """Answers a PAUSE_AND_ASK: drop the rest, or play on."""
        verdict = pb.BargeVerdict(utterance_id=utterance_id, interrupt=interrupt)
        self._send(pb.ConverseResponse(barge_verdict=verdict))

    def send_dtmf(self, digits: str, *, duration_ms: int = 100) -> None:
        self._send(
            pb.ConverseResponse(send_dtmf=pb.SendDtmf(digits=digits, duration_ms=duration_ms))
        )

    def transcript(  # noqa: PLR0913 - the fields of the message
        self,
        text: str,
        *,
        leg: int = 0,
        from_pts: int = 0,
        to_pts: int = 0,
        final: bool = True,
        confidence: float = 0.0,
    ) -> None:
        """Tells what was understood; `leg` is a handle of opening.legs, 0 = the customer's."""
        customer = self.opening.leg(LegKind.CUSTOMER)
        self._send(
            pb.ConverseResponse(
                transcript=pb.Transcript(
                    leg=leg or (customer.handle if customer else 0),
                    from_pts=from_pts,
                    to_pts=to_pts,
                    text=text,
                    final=final,
                    confidence=confidence,
                    language=self.opening.language,
                )
            )
        )

    def intent(
        self,
        name: str,
        *,
        confidence: float = 0.0,
        slots: Mapping[str, Any] | None = None,
        sentiment: str = "",
    ) -> None:
        """Tells what the caller wants."""
        told = Struct()
        told.update(dict(slots or {}))
        self._send(
            pb.ConverseResponse(
                intent=pb.Intent(
                    name=name,
                    confidence=confidence,
                    language=self.opening.language,
                    slots=told,
                    sentiment=sentiment,
                )
            )
        )

    async def escalate(  # noqa: PLR0913 - the fields of the message
        self,
        *,
        reason: str,
        intent: str = "",
        confidence: float | None = None,
        context: handoff_pb2.Context | None = None,
        say_first: str = "",
        request_id: str = "",
        request: handoff_pb2.EscalateRequest | None = None,
    ) -> Escalation:
        """Asks for a human; follow the Escalation it returns.

        `confidence`: how sure you are of the intent, 0 to 1; rules that want one are not met by
        None.
        `say_first` is an utterance that is finished before the caller is put on hold. Anything
        else of the contract goes into `request`, whose other fields are kept. Raises NotAllowed
        unless PRIMARY; ValueError: with a briefing_audio of more than 15 s it is larger than a
        message may be (say it by `tell_agent`).
        """
        if self.opening.role in _SIDE_ROLES:
            raise NotAllowed(f"role {self.opening.role.name} does not escalate")
        self._escalated += 1
        asked = handoff_pb2.EscalateRequest()
        if request is not None:
            asked.CopyFrom(request)
        asked.MergeFrom(
            handoff_pb2.EscalateRequest(
                request_id=request_id or asked.request_id or self._request_id(),
                call_id=self.opening.call_id,
                reason=reason,
                intent=intent,
                confidence=confidence,
                language=asked.language or self.opening.language,
                context=context,
                say_first=say_first,
            )
        )
        if asked.ByteSize() > _MAX_ESCALATION_BYTES:
            raise ValueError(f"{asked.ByteSize()} bytes are more than one message may hold")
        escalation = self._conversation.follow(Escalation(asked.request_id))
        self._send(pb.ConverseResponse(escalate=asked))
        return escalation

    def cancel_escalation(self, escalation: Escalation, *, reason: str = "") -> None:
        """Gives it up, if no human is connected yet; the answer is its final update."""
        cancel = pb.CancelEscalation(request_id=escalation.request_id, reason=reason)
        self._send(pb.ConverseResponse(cancel_escalation=cancel))

    def sensitive(self, *, on: bool) -> None:
        """Card data and the like: while on, no audio reaches the agent (Gap REDACTED)."""
        self._send(pb.ConverseResponse(sensitive=pb.Sensitive(on=on)))

    def hang_up(self, reason: str = "", *, after_ms: int | None = None) -> None:
        """Ends the call; `after_ms` unset = once everything said has been played."""
        after = None if after_ms is None else Duration()
        if after is not None and after_ms is not None:
            after.FromMilliseconds(after_ms)
        self._send(pb.ConverseResponse(hang_up=pb.HangUp(reason=reason, after=after)))

    def _send(self, message: pb.ConverseResponse) -> None:
        self._conversation.outbox.put(message)

    def _may_speak(self, utterance_id: str, *, aside: bool) -> None:
        freeze = None if aside else self._conversation.freeze
        if self.opening.role is Role.SHADOW:
            raise NotAllowed("a SHADOW does not speak")
        if self.opening.role is Role.ASSIST and not aside:
            raise NotAllowed("an ASSIST speaks to the human alone: tell_agent")
        if freeze is not None and utterance_id != freeze.except_utterance_id:
            raise Frozen(f"{utterance_id!r} after Freeze({freeze.reason!r})")

    def _request_id(self) -> str:
        return f"{self.opening.session_id or self.opening.call_id}-{self._escalated}"
