"""What an agent offers, and the choice made from it for one call."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from voicefork.agent.v1 import agent_pb2 as pb

from voicefork_sdk.errors import OpenRejected
from voicefork_sdk.model import PCM_8K, PCM_16K, PCM_24K, AudioFormat, LegKind
from voicefork_sdk.wire import read_format, write_format

MAX_MESSAGE_BYTES = 256 * 1024  # either way; a larger one ends the stream


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """Formats are in order of preference; the worker's own proposal wins where it is among them."""

    name: str = "agent"
    version: str = ""
    uplink: tuple[AudioFormat, ...] = (PCM_8K, PCM_16K)  # what the agent can hear
    downlink: tuple[AudioFormat, ...] = (PCM_8K, PCM_16K, PCM_24K)  # what it can speak
    chunk_ms: int | None = None  # 20..200; None = as the worker proposes
    legs: tuple[LegKind, ...] = ()  # empty = CUSTOMER for PRIMARY, else all
    features: tuple[str, ...] = ("transcript", "intent")
    languages: tuple[str, ...] = ()
    max_calls: int = 0  # 0 = no limit; beyond it calls are refused with RESOURCE_EXHAUSTED
    no_ack: bool = False  # no Ack either way, and no resume
    resume_seconds: float = 5.0  # how long a call outlives a broken stream; 0 = no resume
    ack_ms: int = 300  # audio between two acknowledgements, 250..500
    inbox_ms: int = 1000  # audio that may wait for on_call; the oldest is dropped beyond it
    ahead_ms: int = 30_000  # speech sent before it is played, at most
    close_seconds: float = 3.0  # what on_call may still take after Close

    @property
    def can_resume(self) -> bool:
        return self.resume_seconds > 0 and not self.no_ack

    @property
    def all_features(self) -> tuple[str, ...]:
        own = [*self.features]
        own += ["resume"] if self.can_resume else []
        own += ["no_ack"] if self.no_ack else []
        return tuple(dict.fromkeys(own))


@dataclass(frozen=True, slots=True)
class Choice:
    """The formats of one call."""

    uplink: AudioFormat
    downlink: AudioFormat
    chunk_ms: int


def choose(offer: pb.Open, options: AgentOptions) -> Choice:
    """Picks formats. Raises OpenRejected when the worker offers no downlink the agent speaks."""
    proposed = read_format(offer.uplink)
    uplink = proposed if proposed in options.uplink else options.uplink[0]
    offered = [read_format(choice) for choice in offer.downlink_choices] or [PCM_8K]
    downlink = next((mine for mine in options.downlink if mine in offered), None)
    if downlink is None:
        raise OpenRejected(
            f"no common downlink: offered {offered}, spoken {list(options.downlink)}",
            grpc.StatusCode.FAILED_PRECONDITION,
        )
    return Choice(uplink, downlink, options.chunk_ms or offer.uplink.chunk_ms or 20)


def opened(
    offer: pb.Open, options: AgentOptions, choice: Choice, *, token: str, resumed: bool
) -> pb.ConverseResponse:
    """The Opened that tells the worker of the choice."""
    wanted = [leg.handle for leg in offer.legs if LegKind(leg.kind) in options.legs]
    chosen = write_format(choice.uplink)
    return pb.ConverseResponse(
        opened=pb.Opened(
            uplink=pb.Uplink(
                encoding=chosen.encoding,
                sample_rate=chosen.sample_rate,
                chunk_ms=choice.chunk_ms,
            ),
            downlink=write_format(choice.downlink),
            no_ack=options.no_ack,
            resume_token=token,
            resumed=resumed,
            features=options.all_features,
            legs=wanted,
        )
    )


def describe(options: AgentOptions) -> pb.DescribeResponse:
    """The answer to Describe."""
    return pb.DescribeResponse(
        name=options.name,
        version=options.version,
        uplink=[write_format(one) for one in options.uplink],
        downlink=[write_format(one) for one in options.downlink],
        languages=options.languages,
        max_calls=options.max_calls,
        features=options.all_features,
    )
