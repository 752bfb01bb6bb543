"""What the entry of calls needs from outside; ari, the worker client and Redis implement it.

Every method raises a PeerError when the other side fails; `errors.NotFound` from Pbx means that
the caller hung up, `errors.CallUnknown` from Workers that the worker does not hold the call.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.fleet.call import EnteredCall, ForkHalf, PbxHalf, RtpAddress, Tenant
from orchestrator.fleet.effects import Farewell, Party
from orchestrator.fleet.states import State
from orchestrator.model import CallId


class Pbx(Protocol):
    """Calls on one PBX node."""

    async def answer(self, channel_id: str) -> None: ...

    async def start_music(self, channel_id: str) -> None: ...

    async def stop_music(self, channel_id: str) -> None: ...

    async def start_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None: ...

    async def stop_ringing(self, call_id: str, channel_id: str, *, answered: bool) -> None: ...

    async def open_bridge(self, call_id: str, channel_id: str) -> None:
        """The call's own bridge, with the caller in it."""

    async def close_bridge(self, call_id: str) -> None: ...

    async def open_talkback(
        self, call_id: str, host: str, port: int, codec: str
    ) -> tuple[str, int]:
        """The bot's leg in the call's bridge; returns where the PBX takes the bot's RTP."""

    async def open_hosted(self, call_id: str, endpoint: str) -> None:
        """The bot's own phone in the call's bridge, dialled unless it is there already."""

    async def close_talkback(self, call_id: str) -> None: ...

    async def send_dtmf(self, channel_id: str, digits: str, length_ms: int) -> None: ...

    async def to_queue(self, channel_id: str) -> None: ...

    async def hang_up(self, channel_id: str) -> None: ...


class Workers(Protocol):
    """The workers' control services."""

    async def attach(
        self, fork: ForkHalf, call: EnteredCall, address: RtpAddress, *, answered: bool
    ) -> None:
        """Gives the call its voice: where to send the bot's RTP."""

    async def tell_answered(self, fork: ForkHalf, call_id: CallId) -> None: ...

    async def tell_party(self, fork: ForkHalf, call_id: CallId, party: Party) -> None: ...

    async def detach(self, fork: ForkHalf, call_id: CallId, farewell: Farewell) -> None: ...

    async def alive(self, fork: ForkHalf) -> bool:
        """Whether the worker answers at all. Never raises."""


class Book(Protocol):
    """Where a successor finds our calls."""

    def note(self, call: EnteredCall, state: State) -> None:
        """The newest state of a call; Closed = it is over. Never raises, never waits."""


class Meeting(Protocol):
    """Where the worker's half of a call is found."""

    async def wait_for_fork(self, tenant: Tenant, call_id: CallId, half: PbxHalf) -> ForkHalf:
        """Shows our half and waits for the worker's, without end; a failing store is no error."""

    async def fork_half(self, tenant: Tenant, call_id: CallId) -> ForkHalf | None: ...

    async def leave(self, tenant: Tenant, call_id: CallId) -> None: ...
