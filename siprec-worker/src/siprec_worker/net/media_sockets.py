"""The sockets of a call's legs and voice, leased from the port range and drained by the tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from ipaddress import ip_address

from siprec_worker.errors import NoPorts
from siprec_worker.media.model import TalkbackCodec
from siprec_worker.media.playout import Playout
from siprec_worker.net.rtp_ports import PortPair, PortsExhausted, RtpPorts
from siprec_worker.net.rtp_source import SourceLatch
from siprec_worker.net.rtp_tick import RtpTick
from siprec_worker.net.srtp import Receive, SrtpLine, Tap, muxed
from siprec_worker.net.talkback import Talkback
from siprec_worker.protocol.offer_answer import AcceptedLine

VOICE_ORDER = 10  # after the sessions have looked at what came, before the streams are flushed


class RecordedLeg:
    """One m-line's port pair (session.ports.LegSocket)."""

    def __init__(self, pair: PortPair, tick: RtpTick) -> None:
        self._pair = pair
        self._tick = tick
        self._latch: SourceLatch | None = None
        self._rtcp_latch: SourceLatch | None = None
        self._srtp: SrtpLine | None = None
        self._mux = False
        self._tap: Tap | None = None
        self._rtcp_to = ("", 0)
        self._rtcp_sent = self._rtcp_failed = 0

    @property
    def port(self) -> int:
        return self._pair.port

    def listen(self, rtp: Receive, rtcp: Receive, offered: AcceptedLine) -> None:
        host, port, rtcp_port = offered.remote_host, offered.remote_port, offered.remote_rtcp_port
        known = self._latch is not None and self._rtcp_latch is not None
        if not known:
            self._latch = SourceLatch(self._pair.rtp, host, port)
            self._rtcp_latch = SourceLatch(self._pair.rtcp, host, rtcp_port)
        else:
            self._tick.relatch(self._pair.rtp, host, port)
            self._tick.relatch(self._pair.rtcp, host, rtcp_port)
        nobody = ip_address(host).is_unspecified  # an old way to hold: there is nobody to tell
        self._rtcp_to = ("", 0) if nobody else (host, rtcp_port)
        secured, mux = offered.keys is not None, offered.rtcp_mux
        if self._srtp is not None and offered.keys is not None:
            self._srtp.rekey(offered.keys)
        if not known or secured != (self._srtp is not None) or mux != self._mux:
            self._srtp = None if offered.keys is None else SrtpLine(offered.keys, rtp, rtcp)
            self._mux = mux
            self._connect(rtp, rtcp)

    def _connect(self, rtp: Receive, rtcp: Receive) -> None:
        """Lets the tick hand datagrams on, by way of what the line was agreed to need."""
        if self._srtp is not None:
            rtp, rtcp = self._srtp.receive, self._srtp.receive_rtcp
        self._tick.remove(self._pair.rtp)
        self._tick.remove(self._pair.rtcp)
        self._tick.add(self._pair.rtp, muxed(rtp, rtcp) if self._mux else rtp, self._latch)
        self._tick.add_rtcp(self._pair.rtcp, rtcp, self._rtcp_latch)
        if self._tap is not None:
            self.tap(self._tap)

    def tap(self, receive: Tap | None) -> None:
        self._tap = receive
        if self._srtp is not None:
            self._srtp.tap(receive)
            receive = None if receive is None else self._srtp.note_arrival
        self._tick.tap(self._pair.rtp, receive)

    def send_rtcp(self, report: bytes) -> None:
        if not self._rtcp_to[0] or not self._rtcp_to[1]:
            return
        if self._srtp is not None:
            report = self._srtp.protect_rtcp(report)
        try:
            (self._pair.rtp if self._mux else self._pair.rtcp).sendto(report, self._rtcp_to)
        except OSError:  # nobody there, or a full buffer: the next one comes in a few seconds
            self._rtcp_failed += 1
        else:
            self._rtcp_sent += 1

    def counters(self) -> Mapping[str, int]:
        counts = {
            "refused_sources": self._latch.refused if self._latch else 0,
            "rtcp_sent": self._rtcp_sent,
            "rtcp_failed": self._rtcp_failed,
        }
        if self._srtp is not None:
            counts |= {f"srtp_{name}": n for name, n in asdict(self._srtp.stats).items()}
        return counts

    def close(self) -> None:
        self._tick.remove(self._pair.rtp)
        self._tick.remove(self._pair.rtcp)
        self._pair.release()


class BotVoice:
    """The bot's voice towards the PBX (session.ports.VoiceSocket)."""

    def __init__(self, pair: PortPair, tick: RtpTick, playout: Playout) -> None:
        self._pair = pair
        self._tick = tick
        self._talkback = Talkback(pair.rtp, playout)

    @property
    def address(self) -> tuple[str, int]:
        return self._pair.host, self._pair.port

    def attach(self, host: str, port: int, codec: TalkbackCodec, now: float) -> None:
        ticking = self._talkback.attached
        self._talkback.attach(host, port, codec, now)
        if not ticking:  # a call without a voice costs the tick nothing
            self._tick.add_listener(self._talkback.tick, order=VOICE_ORDER)

    def detach(self) -> None:
        self._talkback.detach()
        self._tick.remove_listener(self._talkback.tick)

    def counters(self) -> Mapping[str, int]:
        return asdict(self._talkback.stats)

    def close(self) -> None:
        self.detach()
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
