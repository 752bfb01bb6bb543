"""Going on with a fork of another worker: its state as values, and a call made of them again.

The dialog gets a re-INVITE with our addresses; once that is answered the RTP comes here. Where the
former worker still has audio for the AIs, ours waits (`suspended`) until it has said all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from siprec_worker.errors import PeerError
from siprec_worker.media.carried import Carried, Reached
from siprec_worker.protocol.sdp import parse_sdp
from siprec_worker.protocol.sip import events as sip
from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.model import Resume
from siprec_worker.session.negotiation import Negotiation
from siprec_worker.session.ports import SipSide
from siprec_worker.session.registry import Calls
from siprec_worker.session.revival import Revival, renew
from siprec_worker.session.stored_fork import StoredChoice, StoredFork, StoredSeat

log = structlog.get_logger(__name__)

Done = Callable[[int], None]
"""Called with the status of the re-INVITE; below 300 the RTP comes here."""

MOST_UNPLAYED = 8
REFUSED_HERE = 606  # the answer to our re-INVITE is not one that we can use


@dataclass(frozen=True, slots=True)
class Remainder:
    """What the former worker says of one AI: how far it has acknowledged, and what came after."""

    acked_seq: int
    messages: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What the former worker says when it has said all that it had.

    `agents` by the AI's URL; of several AIs at one in the order of their places. `legs` by handle;
    an older worker does not say how far it has heard them. `fork`: as it stands by now; an older
    worker does not say. `ended`: why the recording session is over.
    """

    agents: Mapping[str, Sequence[Remainder]] = field(default_factory=dict)
    legs: Mapping[int, Reached] = field(default_factory=dict)
    fork: StoredFork | None = None
    ended: str = ""


@dataclass(frozen=True, slots=True)
class _Adopting:
    fork: StoredFork
    from_worker: str
    since: float | None  # wall clock; None: the former worker says what comes until now
    done: Done


def stored_fork(call: RecordedCall, dialog: DialogState) -> StoredFork:
    """What another worker needs of a call of ours."""
    talk = call.conversation
    ties = {line.handle: call.audio.tie(line.handle) for line in call.lines.values()}
    return StoredFork(
        dialog=dialog,
        identity=call.identity,
        session_id=call.session_id,
        started_at=call.started_at,
        route=call.route,
        language=call.language,
        legs=call.legs,
        seats=tuple(
            StoredSeat(
                url,
                seat.stage,
                seat.opened,
                call.audience.outstanding(place)[0],
                StoredChoice(seat.role, seat.uplink, seat.dial_on_fork, place in call.watched_for),
            )
            for place, (url, seat) in enumerate(zip(call.agents, talk.seats, strict=True))
        ),
        status=talk.status,
        party=talk.party,
        sensitive=talk.sensitive,
        paused=talk.paused,
        sdp_version=call.sdp_version,
        peer_host=call.peer_host,
        unplayed=talk.voice.unplayed[:MOST_UNPLAYED],
        frozen=talk.phrase if talk.frozen else None,
        ties={handle: tie for handle, tie in ties.items() if tie is not None},
    )


class Adoption:
    """Owns no task and no timer."""

    def __init__(
        self, side: SipSide, calls: Calls, builder: CallBuilder, negotiation: Negotiation
    ) -> None:
        self._side = side
        self._calls = calls
        self._builder = builder
        self._negotiation = negotiation
        self._revival = Revival(builder)
        self._adopting: dict[sip.DialogId, _Adopting] = {}

    def begin(
        self, fork: StoredFork, from_worker: str, since: float | None, now: float, done: Done
    ) -> RecordedCall:
        """Sends the re-INVITE; `done` follows, unless the call ends before. Raises NoPorts,
        PeerError (what is stored cannot be used).
        """
        if self._calls.by_dialog(fork.dialog.id) is not None:
            raise PeerError("the fork is here already")
        call = self._revival.call(fork, now)
        try:
            call.local_sdp = parse_sdp(fork.dialog.local_sdp.encode("utf-8", "surrogateescape"))
            for index, media in enumerate(call.local_sdp.media):
                if media.port:
                    call.spare_sockets[index] = self._builder.sockets.leg()
            offer = self._negotiation.answer(call, None)
            dialog_id = self._side.adopt(fork.dialog)
        except BaseException:
            call.leave("not adopted")
            raise
        if since is None:
            call.wait_for_its_former_worker()
        self._calls.add(call)
        self._adopting[dialog_id] = _Adopting(fork, from_worker, since, done)
        try:
            if not self._side.reinvite(dialog_id, offer):
                self._settle(dialog_id, REFUSED_HERE)
        except BaseException:
            self.give_up(call)
            raise
        return call

    def answered(self, event: sip.ReinviteAnswered, now: float) -> None:
        """The answer to a re-INVITE of ours. Never raises."""
        call, adopting = self._calls.by_dialog(event.dialog_id), self._of(event.dialog_id)
        if call is None or adopting is None:
            return
        status = event.status
        if status < 300:  # noqa: PLR2004 - SIP's classes
            try:
                self._negotiation.take_answer(call, event.body)
            except PeerError as error:
                log.warning("unusable answer", call_id=call.identity.call_id, error=str(error))
                status = REFUSED_HERE
            else:
                self._carry_on(call, adopting, now)
        self._settle(event.dialog_id, status)

    def handed(self, call: RecordedCall, fork: StoredFork, now: float) -> StoredFork:
        """What is stored of a call that has come here and waits for its former worker's word.

        Should we die before it, who adopts the call must exceed the numbers of our re-INVITE (RFC
        3261 section 12.2.1.1, RFC 3264 section 8), and nobody has heard what has come here.
        """
        return replace(
            fork,
            dialog=self._side.dialog_state(call.dialog_id) or fork.dialog,
            sdp_version=call.sdp_version,
            unsaid_from=call.around.wall() - (now - call.arrived),
        )

    def live(self, fork: StoredFork) -> RecordedCall | None:
        """The call, where it is here already."""
        here = self._calls.by_dialog(fork.dialog.id)
        return here if here is not None and not here.ended_reason else None

    def missed(self, fork: StoredFork, reason: str) -> None:
        """The fork of a dead worker is over: who knows of it from that worker is told so.

        Not of one that was given to us before, while Redis was away, and lives.
        """
        if self.live(fork) is not None:
            return
        identity = fork.identity
        self._builder.around.reporter.fork_ended(identity.call_id, identity.tenant, reason)

    def give_up(self, call: RecordedCall) -> None:
        """The fork does not move here: in its dialog no more is said than an ACK, should the answer
        to our re-INVITE come after all.
        """
        self._adopting.pop(call.dialog_id, None)
        self._side.hand_over(call.dialog_id)
        call.leave("not adopted")
        self._calls.remove(call)

    def go(
        self,
        call: RecordedCall,
        fork: StoredFork,
        told: Told | None,
        now: float,
    ) -> None:
        """The former worker has said all it had. None: it never said so, and what it had after it
        gave the fork away counts as missing.
        """
        said = told or Told()
        if said.ended:
            self._is_over(call, said.ended, now)
            return
        if said.fork is not None:
            renew(call, said.fork)
        for place, resume in call.resumes.items():
            url = call.agents[place]
            of_url = said.agents.get(url, ())[call.agents[:place].count(url) :]
            left = of_url[0] if of_url else Remainder(resume.acked_seq)
            call.resumes[place] = Resume(resume.token, left.acked_seq, left.messages)
        carried = {
            handle: Carried(tie, tie.pts if told is None else None)
            for handle, tie in fork.ties.items()
        }
        carried |= {leg: Carried(reached.tie, None, reached) for leg, reached in said.legs.items()}
        call.carry_on(carried, now)

    def _is_over(self, call: RecordedCall, reason: str, now: float) -> None:
        """Who ended it told the former worker, which has answered."""
        self._side.hand_over(call.dialog_id)
        try:
            call.end(reason, now)
        finally:
            self._calls.remove(call)

    def _carry_on(self, call: RecordedCall, adopting: _Adopting, now: float) -> None:
        fork, since = adopting.fork, adopting.since
        handles = {line.handle for line in call.lines.values()}
        call.legs = tuple(leg for leg in fork.legs if leg.handle in handles)
        call.confirmed = True
        reporter = call.around.reporter
        identity = call.identity
        reporter.fork_started(
            identity.call_id,
            identity.tenant,
            call.sip_call_id,
            call.voice.address,
            identity.direction,
        )
        reporter.fork_moved(identity.call_id, adopting.from_worker)
        if since is not None:
            pts = call.audio.position(call.begun + max(0.0, since - fork.started_at))
            carried = {h: Carried(fork.ties.get(h), pts) for h in handles}
            call.carry_on(carried, now)

    def _of(self, dialog_id: sip.DialogId) -> _Adopting | None:
        return self._adopting.get(dialog_id)

    def _settle(self, dialog_id: sip.DialogId, status: int) -> None:
        if (adopting := self._adopting.pop(dialog_id, None)) is not None:
            adopting.done(status)
