"""How a party takes a REFER (RFC 3515): its answer, the NOTIFYs after it, a BYE if it likes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voicefork_cli.sim.errors import CallTimeout
from voicefork_cli.sim.flows import Flow
from voicefork_cli.sim.message import Message
from voicefork_cli.sim.tasks import TaskOwner

if TYPE_CHECKING:
    from voicefork_cli.sim.leg import Leg

ACCEPTED = 202
FINAL = 200
NOTIFY_SECONDS = 4.0
_REASONS = {
    100: "Trying", 180: "Ringing", 200: "OK", 202: "Accepted", 403: "Forbidden",
    405: "Method Not Allowed", 486: "Busy Here", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip


@dataclass(slots=True)
class Referral:
    """`progress`: (seconds to wait, status of the sipfrag), the last one ends the subscription."""

    status: int = ACCEPTED
    progress: Sequence[tuple[float, int]] = ((0.05, 100), (0.4, 200))
    hangs_up: bool = False  # right after the last NOTIFY
    asked_for: list[str] = field(default_factory=list)
    """The Refer-To of each REFER"""
    _tasks: TaskOwner = field(default_factory=TaskOwner)

    def asked(self, leg: Leg, refer: Message, flow: Flow) -> None:
        self.asked_for.append(refer.get("Refer-To"))
        leg.answer(refer, flow, self.status, _REASONS.get(self.status, "Refused"), b"")
        if self.status == ACCEPTED:
            self._tasks.start(self._follow(leg))

    async def close(self) -> None:
        await self._tasks.close()

    async def _follow(self, leg: Leg) -> None:
        for wait, status in self.progress:
            await asyncio.sleep(wait)  # a BYE meanwhile ends the call, not the subscription
            await self._notify(leg, status)
        if self.hangs_up:
            await leg.hang_up()

    async def _notify(self, leg: Leg, status: int) -> None:
        dialog = leg.dialog
        if dialog is None:
            return
        over = status >= FINAL
        state = "terminated;reason=noresource" if over else "active;expires=60"
        headers = [("Event", "refer"), ("Subscription-State", state)]
        body = f"SIP/2.0 {status} {_REASONS.get(status, 'Failed')}\r\n".encode()
        notify = dialog.request("NOTIFY", leg.via, headers=headers, body=body)
        notify.headers = [
            (name, "message/sipfrag;version=2.0" if name == "Content-Type" else value)
            for name, value in notify.headers
        ]
        try:
            answer = await leg.endpoint.begin(
                notify, await leg.endpoint.flow_to(dialog.next_hop)
            ).final(NOTIFY_SECONDS)
            leg.note(f"NOTIFY {status}: {answer.status}")
        except CallTimeout as error:
            leg.note(f"NOTIFY {status}: {error}")
