"""What an answering endpoint tells its session, and the state of a dialog that can be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from siprec_worker.protocol.multipart import RecordingBody
from siprec_worker.protocol.sip.message import Request

DialogId = NewType("DialogId", str)


def dialog_id(call_id: str, local_tag: str, remote_tag: str) -> DialogId:
    """RFC 3261 section 12: Call-ID and both tags name a dialog."""
    return DialogId(f"{call_id};local={local_tag};remote={remote_tag}")


@dataclass(frozen=True, slots=True)
class Invited:
    """An INVITE, re-INVITE or UPDATE that accept() or reject() must answer.

    `content.sdp` is None where there is no offer: to an INVITE accept() then brings an offer of
    ours, and Confirmed.body its answer.
    """

    dialog_id: DialogId
    request: Request
    reinvite: bool
    content: RecordingBody


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The peer knows our 200: by its ACK, or by its 200 to our rescuing re-INVITE.

    `body` is that message's SDP, if it has one.
    """

    dialog_id: DialogId
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The peer took its INVITE back before the answer. Without `reinvite` the dialog is gone."""

    dialog_id: DialogId
    reinvite: bool


@dataclass(frozen=True, slots=True)
class HungUp:
    """The dialog is gone."""

    dialog_id: DialogId
    by_peer: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ReinviteAnswered:
    """The final answer to reinvite(); 408 stands for none. A 481 is followed by HungUp."""

    dialog_id: DialogId
    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class MetadataRequestAnswered:
    """The answer to request_metadata(); after a 2xx the snapshot comes as an Invited."""

    dialog_id: DialogId
    status: int


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """No ACK came in time; the rescuing re-INVITE is on its way."""

    dialog_id: DialogId


@dataclass(frozen=True, slots=True)
class NotRecorded:
    """The peer does not know this dialog (any more): it is gone and nothing was recorded."""

    dialog_id: DialogId
    reason: str


@dataclass(frozen=True, slots=True)
class Informed:
    """An INFO within the dialog; it is answered already."""

    dialog_id: DialogId
    request: Request


@dataclass(frozen=True, slots=True)
class Strayed:
    """A request within a dialog that is not ours: answer_stray() or pass_on() must follow.

    Only told where `Uas.passes_on`; else it is answered 481.
    """

    request: Request
    key: tuple[str, ...]  # of its transaction


UasEvent = (
    Invited | Confirmed | Cancelled | HungUp | ReinviteAnswered | Unconfirmed | NotRecorded
    | Informed | MetadataRequestAnswered | Strayed
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DialogState:
    """All that another worker needs to go on with a dialog; plain values, to be stored."""

    call_id: str
    local_tag: str
    remote_tag: str
    local_party: str  # From of our requests, without tag
    remote_party: str  # To of our requests, with its tag
    remote_target: str  # URI of the peer's Contact
    route_set: tuple[str, ...]
    local_cseq: int
    remote_cseq: int
    local_sdp: str
    transport: str
    peer_host: str
    peer_port: int
    takes_update: bool = True  # as its Allow says; without one it is tried

    @property
    def secure(self) -> bool:
        """The peer wants sips: URIs from us too (RFC 3261 section 12.1.1)."""
        return self.remote_target.startswith("sips:")

    @property
    def id(self) -> DialogId:
        return dialog_id(self.call_id, self.local_tag, self.remote_tag)
