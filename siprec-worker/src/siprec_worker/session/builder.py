"""Makes a recorded call from an INVITE: its identity, its route's AIs, its voice."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from siprec_worker.config import AgentRole, Route, Settings, Uplink
from siprec_worker.media.call_audio import CallAudio
from siprec_worker.media.capabilities import installed_capabilities
from siprec_worker.media.deferred import InlineLane, Lane
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.media.playout import Playout
from siprec_worker.protocol.codecs import Capabilities
from siprec_worker.protocol.legs import called_party
from siprec_worker.protocol.rs_metadata import RecordingMetadata
from siprec_worker.protocol.sip.events import DialogId
from siprec_worker.protocol.sip.message import Request
from siprec_worker.session.call import RecordedCall, Surroundings
from siprec_worker.session.feeds import Feeds, Form
from siprec_worker.session.identity import identify
from siprec_worker.session.machine import Conversation
from siprec_worker.session.model import NARROWBAND, Limits, Role, SessionId
from siprec_worker.session.ports import MediaSockets
from siprec_worker.session.routes import Routes
from siprec_worker.session.seats import Seat
from siprec_worker.telemetry import Metrics

UPLINKS = {
    Uplink.PCM8: NARROWBAND,
    Uplink.PCM16: AudioFormat(Encoding.PCM_S16LE, 16_000),
    Uplink.PCM24: AudioFormat(Encoding.PCM_S16LE, 24_000),
    Uplink.ULAW: AudioFormat(Encoding.G711_ULAW, 8000),
    Uplink.ALAW: AudioFormat(Encoding.G711_ALAW, 8000),
}
ROLES = {
    AgentRole.PRIMARY: Role.PRIMARY,
    AgentRole.SHADOW: Role.SHADOW,
    AgentRole.ASSIST: Role.ASSIST,
}


@dataclass(frozen=True, slots=True)
class CallBuilder:
    settings: Settings
    host: str  # for our SDP
    sockets: MediaSockets
    around: Surroundings
    routes: Routes
    metrics: Metrics
    fresh_id: Callable[[], str]
    capabilities: Capabilities = field(default_factory=installed_capabilities)
    lane: Lane = field(default_factory=InlineLane)  # where costly codecs are decoded

    def build(
        self, dialog_id: DialogId, request: Request, metadata: RecordingMetadata | None, now: float
    ) -> RecordedCall:
        """A call without lines yet. Raises NoPorts."""
        called = called_party(metadata)
        identity = identify(
            dict(request.headers.items),
            [metadata.sip_session_id] if metadata and metadata.sip_session_id else [],
            called,
            self.fresh_id,
            self.settings.allowed_headers,
        )
        route = self.routes.of(identity)
        seats = self.seats(route)
        limits = Limits()
        playout = Playout(NARROWBAND, buffer_ms=limits.playout_buffer_ms)
        return RecordedCall(
            identity=identity,
            session_id=SessionId(self.fresh_id()),
            dialog_id=dialog_id,
            sip_call_id=request.call_id,
            peer_host=request.top_via.param("received") or request.top_via.host,
            begun=now,
            started_at=self.around.wall(),
            conversation=Conversation(seats),
            agents=tuple(agent.url for agent in route.agents),
            audio=self.feeds(seats, now),
            watched_for=self.watched_for(route),
            playout=playout,
            voice=self.sockets.voice(playout),
            around=self.around,
            route=route.name,
            language=route.language,
            sdp_session=secrets.randbits(53),
        )

    def seats(self, route: Route) -> tuple[Seat, ...]:
        on_fork = self.settings.dials_on_fork(route)
        return tuple(
            Seat(ROLES[agent.role], on_fork, UPLINKS[agent.uplink]) for agent in route.agents
        )

    def watched_for(self, route: Route) -> frozenset[int]:
        """The AIs that are told of speech."""
        watches = self.settings.watches_speech
        return frozenset(place for place, agent in enumerate(route.agents) if watches(agent))

    def feeds(self, seats: tuple[Seat, ...], begun: float) -> Feeds:
        """The audio in the form that the PRIMARY, else the first AI, is proposed."""
        primary = (seat for seat in seats if seat.role is Role.PRIMARY)
        first = next(primary, seats[0] if seats else None)
        uplink = NARROWBAND if first is None else first.uplink

        def make(form: Form) -> CallAudio:
            return CallAudio(
                begun,
                uplink=form.uplink,
                chunk_ms=form.chunk_ms,
                hold_ms=self.settings.reorder_ms,
                lane=self.lane,
            )

        return Feeds(Form(uplink), make)
