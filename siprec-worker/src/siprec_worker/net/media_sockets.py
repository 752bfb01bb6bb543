"""The sockets of a call's legs and voice, leased from the port range and drained by the tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from siprec_worker.errors import NoPorts
from siprec_worker.media.model import TalkbackCodec
from siprec_worker.media.playout import Playout
from siprec_worker.net.rtp_ports import PortPair, PortsExhausted, RtpPorts
from siprec_worker.net.rtp_source import SourceLatch
from siprec_worker.net.rtp_tick import RtpTick
from siprec_worker.net.talkback import Talkback
from siprec_worker.protocol.offer_answer import AcceptedLine

VOICE_ORDER = 10  # after the sessions have looked at what came, before the streams are flushed


class RecordedLeg:
    """One m-line's port pair (session.ports.LegSocket)."""

    def __init__(self, pair: PortPair, tick: RtpTick) -> None:
        self._pair = pair
        self._tick = tick
        self._listening = False

    @property
    def port(self) -> int:
        return self._pair.port

    def listen(
        self, rtp: Callable[[bytes], None], rtcp: Callable[[bytes], None], offered: AcceptedLine
    ) -> None:
        host, port, rtcp_port = offered.remote_host, offered.remote_port, offered.remote_rtcp_port
        if self._listening:
            self._tick.relatch(self._pair.rtp, host, port)
            self._tick.relatch(self._pair.rtcp, host, rtcp_port)
            return
        latch = SourceLatch(self._pair.rtp, host, port)
        rtcp_latch = SourceLatch(self._pair.rtcp, host, rtcp_port)
        self._tick.add(self._pair.rtp, rtp, latch)
        self._tick.add_rtcp(self._pair.rtcp, rtcp, rtcp_latch)
        self._listening = True

    def tap(self, receive: Callable[[bytes, float], None] | None) -> None:
        self._tick.tap(self._pair.rtp, receive)

    def close(self) -> None:
        if self._listening:
            self._tick.remove(self._pair.rtp)
            self._tick.remove(self._pair.rtcp)
            self._listening = False
        self._pair.release()


class BotVoice:
    """The bot's voice towards the PBX (session.ports.VoiceSocket)."""

    def __init__(self, pair: PortPair, tick: RtpTick, playout: Playout) -> None:
        self._pair = pair
        self._tick = tick
        self._talkback = Talkback(pair.rtp, playout)
        tick.add_listener(self._talkback.tick, order=VOICE_ORDER)

    @property
    def address(self) -> tuple[str, int]:
        return self._pair.host, self._pair.port

    def attach(self, host: str, port: int, codec: TalkbackCodec, now: float) -> None:
        self._talkback.attach(host, port, codec, now)

    def detach(self) -> None:
        self._talkback.detach()

    def counters(self) -> Mapping[str, int]:
        return asdict(self._talkback.stats)

    def close(self) -> None:
        self._talkback.detach()
        self._tick.remove_listener(self._talkback.tick)
        self._pair.release()


class TickedSockets:
    """session.ports.MediaSockets over one port range and one tick."""

    def __init__(self, ports: RtpPorts, tick: RtpTick) -> None:
        self._ports = ports
        self._tick = tick

    def leg(self) -> RecordedLeg:
        return RecordedLeg(self._lease(), self._tick)

    def voice(self, playout: Playout) -> BotVoice:
        return BotVoice(self._lease(), self._tick, playout)

    def _lease(self) -> PortPair:
        try:
            return self._ports.lease()
        except PortsExhausted as error:
            raise NoPorts(str(error)) from error
