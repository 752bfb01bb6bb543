"""What a handoff tells the worker of its call."""

from __future__ import annotations

from orchestrator.handoff.effects import DropBot, FreezeBot, Notify, UnfreezeBot, WorkerEffect
from orchestrator.handoff.ports import WorkerLink
from orchestrator.model import Handoff


async def tell(worker: WorkerLink, effect: WorkerEffect, handoff: Handoff) -> None:
    """`handoff` as it was when the effect was wanted. Raises WorkerError."""
    call = handoff.call_id
    match effect:
        case FreezeBot(_, phrase, reason):
            await worker.freeze(call, phrase, reason)
        case UnfreezeBot():
            await worker.unfreeze(call)
        case DropBot(_, reason):
            await worker.drop_bot(call, reason)
        case Notify():
            await worker.notify(handoff)
