"""A call as it came in from the PBX, and the two halves by which it finds its worker."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from orchestrator.errors import PeerError
from orchestrator.model import CallId

Tenant = NewType("Tenant", str)
DEFAULT_TENANT = Tenant("default")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class EnteredCall:
    """A caller who came into our Stasis application."""

    call_id: CallId
    tenant: Tenant
    channel_id: str
    codec: str  # of the caller's channel, in Asterisk's words: ulaw, alaw, g722
    direction: str = "in"
    answered: bool = False  # by the dialplan, before Stasis()
    hosted: str = ""  # a bot that is a SIP endpoint of the PBX and speaks there: PJSIP/bot
    minted: bool = False  # the PBX gave no call id: no fork can be found for it
    node: str = ""  # the PBX node its channel is on; empty where there is only one


@dataclass(frozen=True, slots=True)
class RtpAddress:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ForkHalf:
    """What the worker that hears a call says of itself."""

    worker_id: str
    control: str  # host:port of its WorkerControl
    talkback: RtpAddress  # where it takes and sends the bot's RTP
    sip_call_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True)
class PbxHalf:
    """What we say of the caller's channel. `state` names the entry's state."""

    orchestrator: str  # host:port of our gRPC
    node: str
    app: str
    channel_id: str
    codec: str
    state: str


def name_or_empty(text: str) -> str:
    """A call id or tenant from outside, as it is; empty where it must not go into ids and keys."""
    return text if _NAME.fullmatch(text) else ""


def mint_call_id() -> CallId:
    """A UUIDv7 (RFC 9562 section 5.7): sorts by time of birth."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | random_bits
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return CallId(str(UUID(int=value)))


def write_pbx_half(half: PbxHalf) -> str:
    return json.dumps(
        {
            "orchestrator": half.orchestrator,
            "node": half.node,
            "app": half.app,
            "channel_id": half.channel_id,
            "codec": half.codec,
            "state": half.state,
        }
    )


def parse_fork_half(text: str | bytes) -> ForkHalf:
    """A worker's half. Raises PeerError: it cannot be used."""
    try:
        fields = json.loads(text)
        half = ForkHalf(
            worker_id=str(fields["worker_id"]),
            control=str(fields["control"]),
            talkback=RtpAddress(str(fields["talkback_host"]), int(fields["talkback_port"])),
            sip_call_id=str(fields.get("sip_call_id", "")),
            session_id=str(fields.get("session_id", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PeerError(f"fork half: {type(error).__name__} {error}") from error
    return checked_fork(half)


def checked_fork(half: ForkHalf) -> ForkHalf:
    """The half itself. Raises PeerError: its addresses cannot be dialled."""
    highest = 65535
    if not half.control or not half.talkback.host or not 0 < half.talkback.port <= highest:
        raise PeerError(f"fork half of {half.worker_id!r} lacks an address")
    return half
