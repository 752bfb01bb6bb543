"""A call made again of what its former worker stored of it."""

from __future__ import annotations

from dataclasses import replace

from siprec_worker.errors import PeerError, SetupError
from siprec_worker.media.playout import Playout
from siprec_worker.session.asides import Asides
from siprec_worker.session.builder import CallBuilder
from siprec_worker.session.call import RecordedCall
from siprec_worker.session.machine import Conversation
from siprec_worker.session.model import NARROWBAND, Limits, Resume
from siprec_worker.session.seats import Seat
from siprec_worker.session.stored_fork import StoredChoice, StoredFork, StoredSeat


class Revival:
    """Opens the sockets of the bot's voice; those of the legs come with the offer."""

    def __init__(self, builder: CallBuilder) -> None:
        self._builder = builder

    def call(self, fork: StoredFork, now: float) -> RecordedCall:
        """As it stood when it was stored. Raises PeerError (an AI that cannot be reached from
        here), NoPorts.
        """
        builder, identity = self._builder, fork.identity
        stored = self._seats(fork)
        try:
            builder.around.reach(seat.url for seat in stored)
        except SetupError as error:
            raise PeerError(str(error)) from error
        begun = now - (builder.around.wall() - fork.started_at)
        talk = _conversation(stored, fork)
        playout = Playout(NARROWBAND, buffer_ms=Limits().playout_buffer_ms)
        return RecordedCall(
            identity=identity,
            session_id=fork.session_id,
            dialog_id=fork.dialog.id,
            sip_call_id=fork.dialog.call_id,
            peer_host=fork.peer_host,
            begun=begun,
            started_at=fork.started_at,
            conversation=talk,
            agents=tuple(seat.url for seat in stored),
            audio=builder.feeds(talk.seats, begun),
            watched_for=frozenset(
                place
                for place, seat in enumerate(stored)
                if seat.choice and seat.choice.watched_for
            ),
            playout=playout,
            voice=builder.sockets.voice(playout),
            around=builder.around,
            route=fork.route,
            language=fork.language,
            sdp_session=0,  # the session's number is in its description
            sdp_version=fork.sdp_version,
            arrived=now,
            resumes=_resumes(stored),
        )

    def _seats(self, fork: StoredFork) -> tuple[StoredSeat, ...]:
        """The AIs that it has: no route in force here changes them. An older worker did not say
        what they are: then the route that it would get now does.
        """
        if all(seat.choice is not None for seat in fork.seats):
            return fork.seats
        builder = self._builder
        route = builder.routes.of(fork.identity)
        known = {agent.url: place for place, agent in enumerate(route.agents)}
        seats, watched_for = builder.seats(route), builder.watched_for(route)
        return tuple(
            replace(stored, choice=_choice(seats[place], watched=place in watched_for))
            for stored in fork.seats
            if (place := known.get(stored.url)) is not None
        )


def renew(call: RecordedCall, newest: StoredFork) -> None:
    """What has come of the conversation while the call was on its way here, and waited."""
    if tuple(seat.url for seat in newest.seats) == call.agents:
        call.conversation = _conversation(newest.seats, newest)
        call.resumes = _resumes(newest.seats)


def _conversation(stored: tuple[StoredSeat, ...], fork: StoredFork) -> Conversation:
    seats = tuple(_seat(seat, seat.choice) for seat in stored if seat.choice is not None)
    return Conversation(
        seats,
        status=fork.status,
        party=fork.party,
        sensitive=fork.sensitive,
        paused=fork.paused,
        cut=fork.unplayed,
        asides=Asides(spoke=set(range(len(seats)))),
        frozen=fork.frozen is not None,
        phrase=fork.frozen or "",
    )


def _resumes(stored: tuple[StoredSeat, ...]) -> dict[int, Resume]:
    return {
        place: Resume(seat.opened.resume_token, seat.acked_seq)
        for place, seat in enumerate(stored)
        if seat.opened is not None and seat.opened.resume_token
    }


def _choice(seat: Seat, *, watched: bool) -> StoredChoice:
    return StoredChoice(seat.role, seat.uplink, seat.dial_on_fork, watched)


def _seat(stored: StoredSeat, choice: StoredChoice) -> Seat:
    return Seat(choice.role, choice.on_fork, choice.uplink, stored.stage, stored.opened)
