"""How a worker treats its AI vendors: limits, windows, credentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from siprec_worker.session.model import Open

CONVERSE = "/voicefork.agent.v1.VoiceAgent/Converse"
MAX_MESSAGE_BYTES = 256 * 1024
MAX_QUEUED_EVENTS = 256

Metadata = Sequence[tuple[str, str]]


def no_metadata(_: Open) -> Metadata:
    return ()


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The limits of one vendor's connector; the defaults are the contract's."""

    connect_seconds: float = 5.0
    opening_seconds: float = 3.0  # Open sent or waiting to be, to Opened
    resume_seconds: float = 3.0  # a stream broke, to another one that goes on with it
    resume_tries: int = 5
    resume_settled_seconds: float = 10.0  # of a resumed stream, until its tries are forgotten
    silence_seconds: float = 15.0  # that much audio offered and nothing heard: the AI is dead
    ack_seconds: float = 0.5  # our Acks, at most this often
    close_seconds: float = 2.0  # Close said, to the end of the stream
    backoff_seconds: float = 0.1  # first pause after a failed connection, then doubled
    backoff_max_seconds: float = 5.0
    calls_per_connection: int = 80  # a 64 KiB window holds one tick of that many calls
    max_connections: int = 64
    idle_seconds: float = 60.0  # a connection without calls is closed after this
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_queued_events: int = MAX_QUEUED_EVENTS
    write_buffer_bytes: int = 1 << 20  # above it the transport is too far behind: audio waits here
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    metadata: Callable[[Open], Metadata] = no_metadata  # e.g. a call's token; must not raise
