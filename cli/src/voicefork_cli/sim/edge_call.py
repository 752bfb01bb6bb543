"""One call through the simulated edge: its messages rewritten, its media relayed, its fork."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from voicefork_cli.sim.endpoint import SipEndpoint
from voicefork_cli.sim.errors import NgError, SimError
from voicefork_cli.sim.fork_media import NgForkMedia, RelayedCall
from voicefork_cli.sim.message import Header, Message, parse_uri
from voicefork_cli.sim.ng import Exchange, NgClient
from voicefork_cli.sim.rs_metadata import Party, RecordedCall, marked_party
from voicefork_cli.sim.src import DEFAULTS, ForkState, SiprecClient, SrcSettings

OK = 200
REFUSED = 300
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')
Address = tuple[str, int]
PickWorkers = Callable[[], Awaitable[list[str]]]


class Side(Enum):
    """Where the call came from."""

    CARRIER = "in"
    PBX = "out"


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """What the edge does with calls."""

    pbx: str  # URI: calls of carriers go there
    pick: PickWorkers  # SRS URIs for a call, best first
    carrier: str = ""  # URI: calls of the PBX go there
    tenant: str = "default"
    trunk: str = "carrier"
    fork: bool = True
    allow_transcoding: bool = True  # as our script: the worker may answer fewer codecs
    plain_metadata: bool = False  # caller and callee as OpenSIPS writes them by itself, unescaped
    src: SrcSettings = DEFAULTS


@dataclass(slots=True)
class Passage:
    """A request that went through: where its answers go, and what was sent on."""

    source: Address
    destination: Address
    method: str
    uri: str
    within: bool = False  # of a dialog that is there already
    forwarded: bytes = b""


@dataclass(slots=True)
class EdgeCall:
    """The edge's memory of one SIP dialog."""

    sip_call_id: str
    side: Side
    plan: EdgePlan
    ng: NgClient
    recorder: SipEndpoint
    invite: Message
    voicefork_call: str = ""
    forked: bool = False
    ended: bool = False
    forks: list[SiprecClient] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def wants_fork(self) -> bool:
        refused = self.invite.get("X-Voicefork-Fork").lower() == "no" and self.side is Side.PBX
        return self.plan.fork and not refused

    @property
    def tenant(self) -> str:
        told = self.invite.get("X-Voicefork-Tenant") if self.side is Side.PBX else ""
        return told or self.plan.tenant

    def identity_headers(self) -> list[Header]:
        """Of the INVITE sent on."""
        return [
            ("X-Voicefork-Call", self.voicefork_call),
            ("X-Voicefork-Direction", self.side.value),
            ("X-Voicefork-Tenant", self.tenant),
        ]

    def fork_headers(self) -> list[Header]:
        """`$siprec(headers)`."""
        dialled = self.invite.uri.partition(":")[2].partition("@")[0]
        asked = self.invite.get("X-Voicefork-Route") if self.side is Side.PBX else ""
        return [
            *self.identity_headers(),
            ("X-Voicefork-Trunk", self.plan.trunk),
            ("X-Voicefork-Route", asked),
            ("X-Voicefork-DID", dialled),
        ]

    async def relayed(self, message: Message, source: Address) -> bytes:
        """The body to send on: SDP through rtpengine, anything else as it is.

        Raises NgError where rtpengine refuses it.
        """
        if not message.body or "sdp" not in message.get("Content-Type"):
            return message.body
        exchange = Exchange(self.sip_call_id, message.from_tag, message.to_tag, source[0])
        if message.is_request:
            return await self.ng.offer(exchange, message.body)
        return await self.ng.answer(exchange, message.body)

    async def start_fork(self, callee_tag: str) -> None:
        """On the first reply with SDP. Never raises: a call without its fork goes on."""
        async with self._starting:
            call = RelayedCall(self.sip_call_id, self.invite.from_tag, callee_tag)
            media = NgForkMedia(self.ng, call, allow_transcoding=self.plan.allow_transcoding)
            own = replace(self.plan.src, from_uri=self.recorder.uri("edge"))
            client = SiprecClient(self.recorder, media, self._recorded(), own)
            self.forks.append(client)
            try:
                await client.start(await self.plan.pick(), self.fork_headers())
            except SimError as error:
                self.errors.append(f"fork: {error}")

    async def refresh_forks(self) -> None:
        """After a re-INVITE of either side was answered 2xx."""
        async with self._starting:
            for fork in self.forks:
                if fork.state is ForkState.RECORDING:
                    try:
                        await fork.refresh()
                    except SimError as error:
                        self.errors.append(f"fork re-INVITE: {error}")

    async def end(self) -> None:
        """BYE to the recorders, then the relay goes. Who asks again waits until that is done."""
        async with self._starting:
            if self.ended:
                return
            self.ended = True
            for fork in self.forks:
                try:
                    await fork.stop()
                except NgError as error:
                    self.errors.append(f"fork BYE: {error}")
            try:
                await self.ng.delete(self.sip_call_id)
            except NgError as error:
                self.errors.append(f"delete: {error}")

    def _recorded(self) -> RecordedCall:
        caller, callee = self.invite.get("From"), self.invite.get("To")
        parties = [_party(caller, "customer"), _party(callee, "pbx")]
        if self.side is Side.PBX:
            parties = [_party(caller, "pbx"), _party(callee, "customer")]
        if self.plan.plain_metadata:
            parties = [Party(_aor(caller), _name(caller)), Party(_aor(callee), _name(callee))]
        return RecordedCall(self.sip_call_id, parties[0], parties[1])


def _party(address: str, kind: str) -> Party:
    return marked_party(_aor(address), _name(address), kind)


def _aor(address: str) -> str:
    unnamed = _QUOTED.sub("", address)
    before, bracket, after = unnamed.partition("<")
    return (after.partition(">")[0] if bracket else before.partition(";")[0]).strip()


def _name(address: str) -> str:
    if quoted := _QUOTED.match(address):
        return quoted[1]
    return address.partition("<")[0].strip() if "<" in address else ""


def new_call_id() -> str:
    """A UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, then chance."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))


def own_branch(message: Message) -> str:
    """Our branch for a request: the same for its repetition, its CANCEL and a refusal's ACK."""
    seed = f"{message.branch} {message.call_id}".encode()
    return "z9hG4bKe" + hashlib.sha256(seed).hexdigest()[:20]


def without_ours(headers: list[Header]) -> list[Header]:
    """No carrier may say who a call is; what the PBX says is read first and written anew."""
    return [(k, v) for k, v in headers if not k.lower().startswith("x-voicefork-")]


def host_and_port(uri: str) -> Address:
    parsed = parse_uri(uri)
    return parsed.host, parsed.port
