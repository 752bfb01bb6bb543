"""What was said in a conformance call, by both sides, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

from voicefork.agent.v1 import agent_pb2 as pb


@dataclass(frozen=True, slots=True)
class Sent:
    at: float  # seconds since the call was dialled
    message: pb.ConverseRequest


@dataclass(frozen=True, slots=True)
class Received:
    at: float
    message: pb.ConverseResponse


@dataclass(slots=True)
class Record:
    """One call, as evidence for the checks."""

    offer: pb.Open
    sent: list[Sent] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    ended_at: float | None = None  # the stream's end
    status: str = ""  # gRPC status of the end: "OK"

    def of_kind(self, kind: str) -> list[Received]:
        return [one for one in self.received if one.message.WhichOneof("message") == kind]

    def sent_of_kind(self, kind: str) -> list[Sent]:
        return [one for one in self.sent if one.message.WhichOneof("message") == kind]

    @property
    def opened(self) -> pb.Opened | None:
        kinds = self.of_kind("opened")
        return kinds[0].message.opened if kinds else None

    @property
    def answered_at(self) -> float | None:
        states = self.sent_of_kind("call_state")
        answered = pb.CallState.STATE_ANSWERED
        return next((s.at for s in states if s.message.call_state.state == answered), None)

    @property
    def closed_at(self) -> float | None:
        closes = self.sent_of_kind("close")
        return closes[0].at if closes else None
