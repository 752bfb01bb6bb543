"""A fork as another worker needs it to go on with it, and as bytes of less than 2 kB.

Compressed JSON with short names. What cannot be read back is told as ValueError: written by another
version, or not by us at all.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from siprec_worker.media.carried import Tie
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.session.identity import Identity
from siprec_worker.session.model import (
    CallId,
    CallStatus,
    Leg,
    LegKind,
    Opened,
    Party,
    Role,
    SessionId,
)
from siprec_worker.session.seats import Stage

VERSION = 1
MAX_BYTES = 2048
_MAX_PLAIN = 64 * 1024


@dataclass(frozen=True, slots=True)
class StoredChoice:
    """What the route said of an AI when the call began."""

    role: Role
    uplink: AudioFormat  # proposed
    on_fork: bool  # it is dialled at once
    watched_for: bool  # it is told of speech


@dataclass(frozen=True, slots=True)
class StoredSeat:
    """How the conversation with one AI stands. `choice`: None where an older version wrote it."""

    url: str
    stage: Stage
    opened: Opened | None = None  # with the resume token, where it has given one
    acked_seq: int = 0
    choice: StoredChoice | None = None


@dataclass(frozen=True, slots=True)
class StoredFork:
    """Everything but the audio. `ties` by leg handle."""

    dialog: DialogState
    identity: Identity
    session_id: SessionId
    started_at: float  # wall clock of pts 0
    route: str
    language: str
    legs: tuple[Leg, ...]
    seats: tuple[StoredSeat, ...]
    status: CallStatus | None = None
    party: Party | None = None
    sensitive: bool = False
    paused: bool = False
    sdp_version: int = 0
    peer_host: str = ""
    ties: Mapping[int, Tie] = field(default_factory=dict)
    unplayed: tuple[str, ...] = ()  # utterances of the bot that nobody will play any more
    frozen: str | None = None  # the bot is: but for this phrase ("": none)
    unsaid_from: float | None = None  # wall clock: what came since waits at its worker, on its way

    def encode(self) -> bytes:
        fields = {
            "v": VERSION,
            "dialog": asdict(self.dialog),
            "identity": asdict(self.identity),
            "session": self.session_id,
            "started": self.started_at,
            "route": self.route,
            "language": self.language,
            "legs": [[x.handle, x.kind, x.label, x.aor, x.name] for x in self.legs],
            "seats": [_written(seat) for seat in self.seats],
            "status": self.status,
            "party": self.party,
            "sensitive": self.sensitive,
            "paused": self.paused,
            "version": self.sdp_version,
            "peer": self.peer_host,
            "unplayed": self.unplayed,
            "frozen": self.frozen,
            "unsaid": self.unsaid_from,
            "ties": {str(handle): list(tie) for handle, tie in self.ties.items()},
        }
        return zlib.compress(json.dumps(fields, separators=(",", ":")).encode("ascii"), 6)


def parse_stored_fork(written: bytes) -> StoredFork:
    """What `encode` wrote. Raises ValueError."""
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(written, _MAX_PLAIN)
        if inflate.unconsumed_tail:
            raise ValueError("too large")  # noqa: TRY301 - told as any other fault
        fields = json.loads(plain)
        if fields["v"] != VERSION:
            raise ValueError(f"version {fields['v']}")  # noqa: TRY301
        return _read(fields)
    except (zlib.error, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"no stored fork: {type(error).__name__} {error}") from error


def _read(fields: dict[str, Any]) -> StoredFork:
    dialog, identity = fields["dialog"], fields["identity"]
    dialog["route_set"] = tuple(dialog["route_set"])
    identity["warnings"] = tuple(identity["warnings"])
    identity["call_id"] = CallId(identity["call_id"])
    return StoredFork(
        dialog=DialogState(**dialog),
        identity=Identity(**identity),
        session_id=SessionId(fields["session"]),
        started_at=float(fields["started"]),
        route=fields["route"],
        language=fields["language"],
        legs=tuple(
            Leg(int(handle), LegKind(kind), label, aor, name)
            for handle, kind, label, aor, name in fields["legs"]
        ),
        seats=tuple(_seat(seat) for seat in fields["seats"]),
        status=None if fields["status"] is None else CallStatus(fields["status"]),
        party=None if fields["party"] is None else Party(fields["party"]),
        sensitive=bool(fields["sensitive"]),
        paused=bool(fields["paused"]),
        sdp_version=int(fields["version"]),
        peer_host=fields["peer"],
        unplayed=tuple(fields.get("unplayed", ())),
        frozen=None if fields.get("frozen") is None else str(fields["frozen"]),
        unsaid_from=None if fields.get("unsaid") is None else float(fields["unsaid"]),
        ties={int(handle): Tie(*map(int, tie)) for handle, tie in fields["ties"].items()},
    )


def _written(seat: StoredSeat) -> dict[str, object]:
    written: dict[str, object] = {"url": seat.url, "stage": seat.stage.value, "ack": seat.acked_seq}
    if (opened := seat.opened) is not None:
        written["opened"] = [
            [opened.uplink.encoding, opened.uplink.sample_rate],
            opened.chunk_ms,
            [opened.downlink.encoding, opened.downlink.sample_rate],
            list(opened.legs),
            opened.no_ack,
            opened.resume_token,
        ]
    if (choice := seat.choice) is not None:
        uplink = [choice.uplink.encoding, choice.uplink.sample_rate]
        written["choice"] = [choice.role, uplink, int(choice.on_fork), int(choice.watched_for)]
    return written


def _seat(written: dict[str, Any]) -> StoredSeat:
    opened: Opened | None = None
    if "opened" in written:
        uplink, chunk_ms, downlink, legs, no_ack, token = written["opened"]
        opened = Opened(
            _format(uplink), int(chunk_ms), _format(downlink), tuple(legs), bool(no_ack), str(token)
        )
    choice: StoredChoice | None = None
    if "choice" in written:
        role, uplink, on_fork, watched_for = written["choice"]
        choice = StoredChoice(Role(role), _format(uplink), bool(on_fork), bool(watched_for))
    stage = Stage(written["stage"])
    return StoredSeat(written["url"], stage, opened, int(written["ack"]), choice)


def _format(written: list[int]) -> AudioFormat:
    encoding, rate = written
    return AudioFormat(Encoding(encoding), int(rate))
