"""One recorded call: offer and answer, its tracks, its AIs and its voice, held together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from siprec_worker.media.carried import Carried
from siprec_worker.media.model import TalkbackCodec
from siprec_worker.media.playout import Playout
from siprec_worker.media.quality import Quality, quality
from siprec_worker.media.track import Track
from siprec_worker.media.witness import CustomerLeg, Witness, WitnessedLeg
from siprec_worker.protocol.offer_answer import AcceptedLine
from siprec_worker.protocol.rs_metadata import RecordingMetadata
from siprec_worker.protocol.sdp import SessionDescription
from siprec_worker.protocol.sip.events import DialogId
from siprec_worker.session import effects as fx
from siprec_worker.session import events as ev
from siprec_worker.session.audience import Audience
from siprec_worker.session.barge import barge_in, judge
from siprec_worker.session.feeds import Feeds, Form
from siprec_worker.session.identity import Identity
from siprec_worker.session.machine import Conversation
from siprec_worker.session.model import (
    AgentLost,
    Clear,
    ClockAnchor,
    CloseReason,
    Escalate,
    FromAgent,
    Leg,
    LegKind,
    Limits,
    Mark,
    Open,
    Opened,
    Resume,
    Sensitive,
    SessionId,
    Speak,
)
from siprec_worker.session.ports import (
    AgentConnector,
    LegSocket,
    Reporter,
    VoiceSocket,
)
from siprec_worker.session.receiver_reports import REPORT_SECONDS, Reporting

ANCHOR_SECONDS = REPORT_SECONDS
KEPT_EVERY = 6  # anchors: the legs' places are stored so often
MOST_HELD = 256  # events of a call on its way here; the oldest go first, counted


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all calls of a worker share."""

    connectors: Mapping[str, AgentConnector]  # by agent URL
    reporter: Reporter
    wall: Callable[[], float]  # seconds since the epoch
    count: Callable[[str, str], None]  # what, role
    rate: Callable[[float], None] = lambda mos: None  # a leg's estimated MOS, at its end
    keep: Callable[[RecordedCall], None] = lambda call: None  # what another worker would need of it
    reach: Callable[[Iterable[str]], None] = lambda urls: None  # AIs that no route of ours names


@dataclass(slots=True)
class Line:
    """One m-line that is recorded."""

    accepted: AcceptedLine
    socket: LegSocket
    handle: int
    track: Track
    reporting: Reporting

    @property
    def quality(self) -> Quality | None:
        """How the leg sounds by now, as what most of its packets are."""
        stats = self.track.stats()
        speech = {p: c for p, c in stats.payload_types.items() if p in self.accepted.payloads}
        most = max(speech, key=lambda p: speech[p], default=None)
        codec = "" if most is None else self.accepted.payloads[most].name
        return quality(stats, codec, self.accepted.ptime_ms + self.track.hold_ms)


@dataclass(slots=True)
class RecordedCall:
    """Everything of one fork. `agents`: URLs, one per seat of the conversation."""

    identity: Identity
    session_id: SessionId
    dialog_id: DialogId
    sip_call_id: str
    peer_host: str  # where its INVITE came from
    begun: float  # on the clock of `now`
    started_at: float  # wall clock
    conversation: Conversation
    agents: tuple[str, ...]
    audio: Feeds
    playout: Playout
    voice: VoiceSocket
    around: Surroundings
    route: str
    language: str
    sdp_session: int
    sdp_version: int = 0
    local_sdp: SessionDescription | None = None
    remote_sdp: SessionDescription | None = None
    offering: bool = False  # local_sdp is an offer of ours that has no answer yet
    metadata: RecordingMetadata | None = None  # all documents so far, merged
    recovered_metadata: RecordingMetadata | None = None  # what was left of one that is broken
    legs: tuple[Leg, ...] = ()
    lines: dict[int, Line] = field(default_factory=dict)  # by m-line index
    spare_sockets: dict[int, LegSocket] = field(default_factory=dict)  # of lines not agreed yet
    confirmed: bool = False
    ended_reason: str = ""
    ended_at: float = 0.0
    warnings: list[str] = field(default_factory=list)
    talkback: tuple[str, int, TalkbackCodec] | None = None
    final_counters: dict[int, Mapping[str, object]] = field(default_factory=dict)
    witness: Witness | None = None
    watched_for: frozenset[int] = frozenset()  # the AIs that are told of speech
    audience: Audience = field(init=False)
    arrived: float = 0.0  # when it came here, on the clock of `now`; `begun` may be elsewhere
    suspended: bool = False  # its former worker still has audio for the AIs: ours waits
    caller_gone: bool = False  # the PBX says so: the RTP ends in a moment
    resumes: dict[int, Resume] = field(default_factory=dict)  # by AI: how it is dialled at first
    _held: deque[ev.Event] | None = None  # what came of it while its former worker had more to say
    _next_anchor: float = 0.0
    _anchors: int = -1
    _now: float = 0.0

    def __post_init__(self) -> None:
        self.audience = Audience(self.audio, self.watched_for, self.feed)

    # --- what happens to it -----------------------------------------------------------------

    def confirm(self, now: float) -> None:
        """The SRC knows that we record: the AIs may be dialled, the orchestrator is told."""
        self._now = now
        if self.confirmed:
            return
        self.confirmed = True
        self.around.reporter.fork_started(
            self.identity.call_id,
            self.identity.tenant,
            self.sip_call_id,
            self.voice.address,
            self.identity.direction,
        )
        self.feed(ev.Recording(self.legs), now)

    def wait_for_its_former_worker(self) -> None:
        """It says what came there; what comes here is later, audio and events: until `carry_on`."""
        self.suspended, self._held = True, deque()

    def carry_on(self, carried: Mapping[int, Carried], now: float) -> None:
        """The fork was another worker's: the AIs are dialled again, the legs go on.

        `carried` by leg handle.
        """
        held, self._held = self._held or (), None
        self.suspended = False
        self.feed(ev.Adopted(self.legs), now)
        for line in self.lines.values():
            self.audio.carry_on(line.handle, carried.get(line.handle, Carried()))
        for event in held:
            self.feed(event, now)

    def attach(
        self, host: str, port: int, codec: TalkbackCodec, attached: ev.TalkbackAttached, now: float
    ) -> None:
        """The PBX has a leg for the bot's voice. Idempotent; again with another address = moved."""
        self.talkback = (host, port, codec)
        self.caller_gone = False
        self.feed(attached, now)
        if self.voice_on:
            self._send_voice(codec)

    def detach(self, detached: ev.TalkbackDetached, now: float) -> None:
        self.feed(detached, now)
        self.talkback = None
        self.caller_gone = detached.reason in (CloseReason.CALL_ENDED, CloseReason.NOT_ANSWERED)

    def feed(self, event: ev.Event, now: float) -> None:
        """One event for the conversation; what it wants is done at once, in order."""
        if self._held is not None and not isinstance(event, ev.Ended):
            self._hold(self._held, event)
            return
        self._now = now
        self.conversation.now_pts = self.audio.position(now)
        unplayed = self.conversation.voice.unplayed
        for effect in self.conversation.handle(event):
            self._do(effect)
        match event:
            case _ if self.conversation.voice.unplayed != unplayed:
                self.around.keep(self)
            case ev.Heard() | ev.Played() | ev.Ended():
                pass
            case ev.AgentSaid(_, Opened() | AgentLost() | Sensitive() | Escalate()):
                self.around.keep(self)
            case ev.AgentSaid():
                pass
            case _:
                self.around.keep(self)

    def _hold(self, held: deque[ev.Event], event: ev.Event) -> None:
        if len(held) >= MOST_HELD:
            held.popleft()
            self.around.count("event_shed", "")
        held.append(event)

    def tick(self, now: float) -> None:
        """Passes on what the legs brought since the last tick, and what the playout has done."""
        if self.suspended:
            return
        self.audience.tick(now)
        for state in self.playout.events():
            self.feed(ev.Played(state), now)
        if now >= self._next_anchor:
            self._next_anchor = now + ANCHOR_SECONDS
            self.audience.send_anchor(ClockAnchor(self.audio.position(now), self.around.wall()))
            self._anchors += 1
            if self._anchors % KEPT_EVERY == 1:
                self.around.keep(self)
            for line in self.lines.values() if now - self.begun >= REPORT_SECONDS else ():
                line.reporting.report(now)

    def drop_line(self, index: int) -> None:
        """An m-line that an offer gave up: its sender is told, its ports are given back."""
        gone = self.lines.pop(index)
        gone.reporting.say_goodbye(self._now)
        gone.socket.close()
        self.audio.remove_track(gone.handle)

    def start_witness(self) -> Witness | None:
        """Begins to measure what the caller hears; None when no leg is known to carry it."""
        line = self._line_of(LegKind.PBX)
        if line is None:
            return None
        self.witness = Witness(self.around.wall())
        payloads = {
            pt: (payload.name, payload.rate) for pt, payload in line.accepted.payloads.items()
        }
        line.socket.tap(WitnessedLeg(self.witness, payloads).receive)
        if (customer := self._line_of(LegKind.CUSTOMER)) is not None:
            noise = [
                pt
                for pt, payload in customer.accepted.payloads.items()
                if payload.name.upper() == "CN"
            ]
            customer.socket.tap(CustomerLeg(self.witness.legs, (13, *noise)).receive)
        return self.witness

    def stop_witness(self) -> None:
        for kind in (LegKind.PBX, LegKind.CUSTOMER) if self.witness is not None else ():
            if (line := self._line_of(kind)) is not None:
                line.socket.tap(None)
        self.witness = None

    def _line_of(self, kind: LegKind) -> Line | None:
        handles = {leg.handle for leg in self.legs if leg.kind is kind}
        return next((line for line in self.lines.values() if line.handle in handles), None)

    def end(self, reason: str, now: float) -> None:
        """The recording session is over: AIs are told, sockets are given back."""
        if self.ended_reason:
            return
        self.ended_reason, self.ended_at = reason, self.around.wall()
        try:
            self.feed(ev.Ended(reason), now)
            self.around.keep(self)
            for line in self.lines.values():
                line.reporting.say_goodbye(now)
                if self.confirmed and (rated := line.quality) is not None:
                    self.around.rate(rated.mos)
        finally:  # whatever a bug leaves unsaid, the ports are given back
            self._release()
            if self.confirmed:
                identity = self.identity
                self.around.reporter.fork_ended(identity.call_id, identity.tenant, reason)

    def leave(self, reason: str) -> None:
        """The call is another worker's: nobody is told anything, sockets are given back."""
        if self.ended_reason:
            return
        self.ended_reason, self.ended_at = reason, self.around.wall()
        self.audience.abandon()
        self._release()

    def _release(self) -> None:
        self.final_counters = self.counters()
        self.stop_witness()
        for line in self.lines.values():
            line.socket.close()
        for socket in self.spare_sockets.values():
            socket.close()
        self.voice.close()
        self.audience.clear()

    def counters(self) -> dict[int, Mapping[str, object]]:
        """Per leg handle, what its track has counted."""
        if self.final_counters:
            return self.final_counters
        return {handle: asdict(stats) for handle, stats in self.audio.stats().items()}

    @property
    def voice_on(self) -> bool:
        return self.conversation.speaking

    # --- what the conversation wants --------------------------------------------------------

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Dial(agent):
                self._dial(agent)
            case fx.UseForm(agent, uplink, chunk_ms):
                self.audience.use(agent, Form(uplink, chunk_ms))
            case fx.Listen(agent, handles):
                self.audience.listen(agent, handles)
            case fx.Withhold(cause):
                self.audio.withhold(cause, self._now)
            case fx.Tell(agent, message):
                self.audience.send(agent, message)
            case fx.Goodbye(agent, close):
                self.audience.remove(agent, close)
            case fx.SetDownlink(source):
                self.playout.set_source(source)
            case fx.StartVoice(codec):
                self._send_voice(codec)
            case fx.StopVoice():
                self.playout.clear()
                self.voice.detach()
            case fx.Play(order):
                self._play(order)
            case fx.BargeIn():
                barge_in(self.playout)
            case fx.JudgeBarge(verdict):
                judge(self.playout, verdict)
            case fx.FreezeVoice(phrase):
                self.playout.freeze(phrase)
            case fx.UnfreezeVoice():
                self.playout.unfreeze()
            case fx.Report(news):
                if isinstance(news, fx.PhraseEnded) and self.witness is not None:
                    self.witness.phrase_ended(self.around.wall())
                self.around.reporter.report(self.identity.call_id, news)
            case fx.Count(what, role):
                self.around.count(what, role.name.lower())

    def _send_voice(self, codec: TalkbackCodec) -> None:
        if self.talkback is None:
            return
        host, port, _ = self.talkback
        try:
            self.voice.attach(host, port, codec, self._now)
        except OSError as error:
            news = fx.BotFailed(f"no way to {host}:{port} for the bot's voice: {error}")
            self.around.reporter.report(self.identity.call_id, news)

    def _dial(self, agent: int) -> None:
        seat = self.conversation.seats[agent]
        resume, known = self.resumes.pop(agent, None), seat.opened
        opening = Open(
            call_id=self.identity.call_id,
            session_id=self.session_id,
            role=seat.role,
            legs=self.legs,
            uplink=seat.uplink,
            chunk_ms=self.conversation.chunk_ms,
            tenant=self.identity.tenant,
            headers=self.identity.headers,
            language_hint=self.language,
            direction=self.identity.direction,
            route=self.route,
            limits=Limits(),
        )
        if resume is not None and known is not None:  # a resumed call does not change its form
            opening = replace(
                opening,
                uplink=known.uplink,
                chunk_ms=known.chunk_ms,
                downlink_choices=(known.downlink,),
                resume=resume,
            )

        def receive(message: FromAgent) -> None:
            self.feed(ev.AgentSaid(agent, message), self._now)
            if isinstance(message, AgentLost):
                self.audience.remove(agent)

        connector = self.around.connectors[self.agents[agent]]
        form = Form(opening.uplink, opening.chunk_ms)
        self.audience.add(agent, connector.connect(opening, receive), form)

    def _play(self, order: Speak | Clear | Mark) -> None:
        match order:
            case Speak(utterance_id, data, last, barge):
                self.playout.speak(utterance_id, data, last=last, barge=barge)
            case Clear(utterance_ids, fade_ms):
                self.playout.clear(utterance_ids, fade_ms)
                self.playout.resume()  # it has heard the caller and decided
            case Mark(name):
                self.playout.mark(name)
