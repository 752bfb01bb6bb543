"""What a session needs from outside, as Protocols; sinks/ and net/ implement them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from siprec_worker.media.model import LegAudio, TalkbackCodec
from siprec_worker.media.playout import Playout
from siprec_worker.protocol.offer_answer import AcceptedLine
from siprec_worker.protocol.sip.events import DialogId, DialogState
from siprec_worker.session import effects as fx
from siprec_worker.session.model import Close, FromAgent, Open, ToAgent


class AgentStream(Protocol):
    """One call's conversation with one AI. Nothing here blocks or raises on a slow or dead peer."""

    def send_audio(self, pts: int, legs: Sequence[LegAudio]) -> None:
        """Queues one chunk. Before Opened: kept (bounded, oldest shed and told as Gap SHED)."""

    def send(self, message: ToAgent) -> None:
        """Queues an event, in order with the audio around it."""

    def close(self, close: Close) -> None:
        """Says goodbye and ends the stream; nothing is delivered to the receiver afterwards."""

    def abandon(self) -> None:
        """Ends the stream without a goodbye: another worker goes on with it."""

    @property
    def outstanding(self) -> tuple[int, int]:
        """The last of our messages that the AI has acknowledged, and the milliseconds of audio
        that it has not."""

    def left(self) -> tuple[bytes, ...]:
        """What it has not acknowledged, as messages for another worker's `Resume`."""


class AgentConnector(Protocol):
    """Makes streams to one AI vendor. All calls of a worker share one connector per vendor."""

    def connect(self, opening: Open, receiver: Callable[[FromAgent], None]) -> AgentStream:
        """Starts a conversation; answers arrive at `receiver` on the event loop, in order.

        The first is Opened, or AgentLost within the opening limit (3 s); AgentLost is the last.
        """

    def flush(self) -> None:
        """Writes everything that was queued since the last flush: called once per tick."""

    async def aclose(self) -> None:
        """Ends all streams and connections."""


class SipSide(Protocol):
    """The answering side of the dialog."""

    def accept(self, of: DialogId, sdp: bytes, headers: Iterable[tuple[str, str]] = ()) -> bool: ...

    def reject(
        self, of: DialogId, status: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> bool: ...

    def bye(self, of: DialogId, reason: str = "") -> bool: ...

    def adopt(self, state: DialogState) -> DialogId:
        """Takes over another worker's dialog."""

    def reinvite(self, of: DialogId, offer: bytes) -> bool:
        """Sends an offer of ours; ReinviteAnswered follows."""

    def hand_over(self, of: DialogId) -> bool:
        """Another worker has the dialog now: nothing is sent in it any more."""

    def outrun(self, of: DialogId) -> bool:
        """Another worker may have sent requests in the dialog: ours have higher numbers now."""

    def dialog_state(self, of: DialogId) -> DialogState | None: ...


class LegSocket(Protocol):
    """One m-line's RTP and RTCP sockets."""

    @property
    def port(self) -> int: ...

    def listen(
        self, rtp: Callable[[bytes], None], rtcp: Callable[[bytes], None], offered: AcceptedLine
    ) -> None:
        """Hands on what the offered source sends; again = the source may have moved.

        Raises ValueError when the offered host is no IP address.
        """

    def tap(self, receive: Callable[[bytes, float], None] | None) -> None:
        """Hands every datagram also to `receive`, with the kernel's time of arrival (seconds since
        the epoch); None ends it."""

    def send_rtcp(self, report: bytes) -> None:
        """Sends a compound packet to the offered RTCP address; what cannot be sent is counted."""

    def counters(self) -> Mapping[str, int]: ...

    def close(self) -> None: ...


class VoiceSocket(Protocol):
    """The bot's voice towards the PBX."""

    @property
    def address(self) -> tuple[str, int]: ...

    def attach(self, host: str, port: int, codec: TalkbackCodec, now: float) -> None: ...

    def detach(self) -> None: ...

    def counters(self) -> Mapping[str, int]: ...

    def close(self) -> None: ...


class MediaSockets(Protocol):
    """Where sockets come from. Raises PortsExhausted when there are none."""

    def leg(self) -> LegSocket: ...

    def voice(self, playout: Playout) -> VoiceSocket: ...


class Reporter(Protocol):
    """The way to the orchestrator. Bounded; nothing blocks."""

    def fork_started(
        self, call_id: str, tenant: str, sip_call_id: str, talkback: tuple[str, int], direction: str
    ) -> None: ...

    def fork_ended(self, call_id: str, tenant: str, reason: str) -> None: ...

    def fork_moved(self, call_id: str, from_worker: str) -> None:
        """The fork of another worker is ours now; told after fork_started."""

    def report(self, call_id: str, news: fx.News) -> None: ...
