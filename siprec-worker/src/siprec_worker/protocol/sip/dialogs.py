"""The dialogs of an endpoint: found by their id, by the INVITE that began them, by their time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from siprec_worker.protocol.sip.deadlines import Deadlines
from siprec_worker.protocol.sip.dialog import Dialog
from siprec_worker.protocol.sip.events import DialogId, dialog_id
from siprec_worker.protocol.sip.flow import Flow
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.transaction import TransactionKey

InviteId = tuple[str, str, int]  # Call-ID, From tag, CSeq


@dataclass(slots=True)
class Entry:
    dialog: Dialog
    flow: Flow | None  # None: adopted, and the peer has not spoken to us yet
    invite: InviteId | None


class Dialogs:
    """Add one, and `settle` it whenever something was done with it."""

    def __init__(self) -> None:
        self._entries: dict[DialogId, Entry] = {}
        self._invites: dict[InviteId, TransactionKey] = {}
        self._deadlines: Deadlines[DialogId] = Deadlines()

    def begin(self, dialog: Dialog, invite: Request, key: TransactionKey, flow: Flow) -> Entry:
        entry = Entry(dialog, flow, _invite_id(invite))
        self._entries[dialog.state.id] = entry
        self._invites[_invite_id(invite)] = key
        return entry

    def adopt(self, dialog: Dialog) -> Entry:
        entry = self._entries[dialog.state.id] = Entry(dialog, None, None)
        return entry

    def merged(self, invite: Request, key: TransactionKey) -> bool:
        """The same INVITE has come another way (RFC 3261 section 8.2.2.2)."""
        return self._invites.get(_invite_id(invite), key) != key

    def get(self, of: DialogId) -> Entry | None:
        return self._entries.get(of)

    def asked_in(self, request: Request) -> Entry | None:
        """The dialog that a request of the peer is of."""
        return self.get(dialog_id(request.call_id, request.to_tag, request.from_tag))

    def answered_in(self, ours: Request | Response) -> Entry | None:
        """The dialog of a request of ours, or of an answer to one."""
        return self.get(dialog_id(ours.call_id, ours.from_tag, ours.to_tag))

    def owing(self, key: TransactionKey) -> list[Entry]:
        """Those whose answer to the request of this transaction is still due."""
        return [entry for entry in self._entries.values() if entry.dialog.owes(key)]

    def settle(self, entry: Entry) -> None:
        """Notes when the dialog wants to be woken; one that has ended is forgotten."""
        of = entry.dialog.state.id
        self._deadlines.set(of, entry.dialog.next_timeout())
        if entry.dialog.ended:
            self._entries.pop(of, None)
            if entry.invite is not None:
                self._invites.pop(entry.invite, None)

    @property
    def own_ids(self) -> tuple[DialogId, ...]:
        """Without those handed over."""
        return tuple(of for of, e in self._entries.items() if not e.dialog.handed_over)

    def next_timeout(self) -> float | None:
        return self._deadlines.earliest()

    def due(self, now: float) -> Iterator[Entry]:
        for of in list(self._deadlines.due(now)):
            if (entry := self._entries.get(of)) is not None:
                yield entry


def _invite_id(request: Request) -> InviteId:
    return (request.call_id, request.from_tag, request.cseq.number)
