"""Whose call is this? Identity, tenant, direction and route of a forked call, from its INVITE."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from siprec_worker.session.model import CallId

CALL_HEADER = "X-Voicefork-Call"
DIRECTION_HEADER = "X-Voicefork-Direction"
TENANT_HEADER = "X-Voicefork-Tenant"
TRUNK_HEADER = "X-Voicefork-Trunk"
ROUTE_HEADER = "X-Voicefork-Route"
DID_HEADER = "X-Voicefork-DID"
DEFAULT_TENANT = "default"

# What may stand in a Redis key, a gRPC id and a log line: nothing that could forge another.
_SAFE_ID = re.compile(r"[A-Za-z0-9._@:+-]{1,128}")
_SAFE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the call is, and where each part of it came from (`warnings` for what was missing)."""

    call_id: CallId
    tenant: str
    direction: str  # "in" or "out", seen from the PBX
    trunk: str
    route_hint: str
    did: str
    headers: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def identify(
    headers: Mapping[str, str],
    sip_session_ids: Sequence[str],
    called: str,
    fresh_id: Callable[[], str],
    allowed_headers: Sequence[str] = (),
) -> Identity:
    """The identity of a forked call.

    `headers`: the INVITE's headers by name, any case. `sip_session_ids`: from the recording
    metadata, the fallback (with OpenSIPS the carrier dialog's Call-ID; breaks under topology
    hiding). `called`: the called party's AOR. `fresh_id`: makes an id when nothing else names the
    call; it then has no rendezvous with the PBX's half.
    """
    by_name = {name.lower(): _readable(value.strip()) for name, value in headers.items()}
    warnings: list[str] = []
    call_id = by_name.get(CALL_HEADER.lower(), "")
    if not _SAFE_ID.fullmatch(call_id):
        if call_id:
            warnings.append(f"{CALL_HEADER} is not a usable id")
        # A Session-ID (RFC 7989) names the other end after a semicolon.
        named = [session_id.partition(";")[0] for session_id in sip_session_ids]
        call_id = next((i for i in named if _SAFE_ID.fullmatch(i)), "")
        source = "the metadata's sipSessionID" if call_id else "a fresh id"
        warnings.append(f"no {CALL_HEADER}: identified by {source}")
        call_id = call_id or fresh_id()
    tenant = by_name.get(TENANT_HEADER.lower(), DEFAULT_TENANT)
    if not _SAFE_NAME.fullmatch(tenant):
        warnings.append(f"{TENANT_HEADER} is not a usable name")
        tenant = DEFAULT_TENANT
    direction = "out" if by_name.get(DIRECTION_HEADER.lower()) == "out" else "in"
    return Identity(
        call_id=CallId(call_id),
        tenant=tenant,
        direction=direction,
        trunk=by_name.get(TRUNK_HEADER.lower(), ""),
        route_hint=by_name.get(ROUTE_HEADER.lower(), ""),
        did=by_name.get(DID_HEADER.lower(), "") or user_part(called),
        headers={
            name: by_name[name.lower()] for name in allowed_headers if name.lower() in by_name
        },
        warnings=tuple(warnings),
    )


def _readable(text: str) -> str:
    """Without the bytes that are no UTF-8: neither gRPC nor Redis takes them."""
    return text.encode(errors="replace").decode()


def user_part(aor: str) -> str:
    """The user of a SIP or tel URI: `sip:+14155550199@host:5060` -> `+14155550199`."""
    _, _, rest = aor.partition(":")
    user, at, _ = rest.partition("@")
    return user.partition(";")[0] if at or aor.startswith("tel:") else ""
