"""Recording metadata: who speaks in which stream of a recorded call (RFC 7865)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

COMPLETE = "complete"
PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Extension:
    """An element of a foreign vocabulary, kept as it came."""

    name: str  # local name
    namespace: str
    parent: str  # local name of the element it stands in
    xml: bytes


@dataclass(frozen=True, slots=True)
class Group:
    id: str


@dataclass(frozen=True, slots=True)
class CommunicationSession:
    id: str
    sip_session_id: str = ""  # the recorded call's Call-ID with OpenSIPS, else a Session-ID
    group_id: str = ""
    start_time: str = ""


@dataclass(frozen=True, slots=True)
class NameId:
    aor: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Participant:
    """`sends` and `receives` are stream ids; None where the document says nothing of them."""

    id: str
    name_ids: tuple[NameId, ...] = ()
    session_id: str = ""
    associate_time: str = ""
    disassociate_time: str = ""
    sends: tuple[str, ...] | None = None
    receives: tuple[str, ...] | None = None
    leg_kind: str = ""  # of our own extension: customer, pbx or ""
    calling: bool | None = None  # of Acme's callingParty extension
    left_streams: frozenset[str] = frozenset()  # whose association is over

    @property
    def aor(self) -> str:
        return self.name_ids[0].aor if self.name_ids else ""

    @property
    def name(self) -> str:
        return self.name_ids[0].name if self.name_ids else ""

    def updated(self, later: Participant) -> Participant:
        """What a partial update leaves out stays as it was (RFC 7865 section 6).

        Who joins another session, or the same one at another time, is there again; leaving a
        session that was left for another one before says nothing new.
        """
        elsewhere = bool(later.session_id and self.session_id) and (
            later.session_id != self.session_id
        )
        if elsewhere and later.disassociate_time and not self.disassociate_time:
            later = replace(later, session_id="", associate_time="", disassociate_time="")
        rejoined = bool(later.associate_time) and (
            elsewhere or later.associate_time != self.associate_time
        )
        left = "" if rejoined else self.disassociate_time
        return Participant(
            id=self.id,
            name_ids=later.name_ids or self.name_ids,
            session_id=later.session_id or self.session_id,
            associate_time=later.associate_time or self.associate_time,
            disassociate_time=later.disassociate_time or left,
            sends=_without(later.left_streams, self.sends, later.sends),
            receives=_without(later.left_streams, self.receives, later.receives),
            leg_kind=later.leg_kind or self.leg_kind,
            calling=self.calling if later.calling is None else later.calling,
        )


def _without(
    left: frozenset[str], before: tuple[str, ...] | None, later: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    now = before if later is None else later
    return now if now is None else tuple(i for i in now if i not in left)


@dataclass(frozen=True, slots=True)
class Stream:
    id: str
    label: str = ""
    session_id: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True)
class RecordingMetadata:
    """One metadata document, or the state after several."""

    root: str = "recording"
    namespace: str = ""
    datamode: str = COMPLETE
    groups: tuple[Group, ...] = ()
    sessions: tuple[CommunicationSession, ...] = ()
    participants: tuple[Participant, ...] = ()
    streams: tuple[Stream, ...] = ()
    extensions: tuple[Extension, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sip_session_id(self) -> str:
        return next((s.sip_session_id for s in self.sessions if s.sip_session_id), "")

    def labels(self, stream_ids: Iterable[str] | None) -> tuple[str, ...]:
        """Labels of the declared ones among `stream_ids`, in their order."""
        known = {stream.id: stream.label for stream in self.streams}
        return tuple(known[i] for i in stream_ids or () if known.get(i))

    def undeclared(self, stream_ids: Iterable[str] | None) -> tuple[str, ...]:
        known = {stream.id for stream in self.streams}
        return tuple(i for i in stream_ids or () if i not in known)

    @property
    def stream_owner(self) -> dict[str, tuple[str, ...]]:
        """Label -> the AORs of those who send it, also where several streams have that label."""
        owners: dict[str, dict[str, None]] = {}
        for stream in self.streams:
            if not stream.label:
                continue
            known = owners.setdefault(stream.label, {})
            for participant in self.participants:
                if stream.id in (participant.sends or ()):
                    known.update(dict.fromkeys(n.aor for n in participant.name_ids))
        return {label: tuple(aors) for label, aors in owners.items()}

    def merged(self, update: RecordingMetadata) -> RecordingMetadata:
        """The state after `update`: a complete document replaces, a partial one amends."""
        if update.datamode != PARTIAL:
            return update
        known = {participant.id: participant for participant in self.participants}
        for participant in update.participants:
            before = known.get(participant.id)
            known[participant.id] = before.updated(participant) if before else participant
        return replace(
            self,
            groups=_by_id(self.groups, update.groups),
            sessions=_by_id(self.sessions, update.sessions),
            participants=tuple(known.values()),
            streams=_by_id(self.streams, update.streams),
            extensions=update.extensions or self.extensions,
            warnings=update.warnings,
        )


_Entry = TypeVar("_Entry", Group, CommunicationSession, Stream)


def _by_id(before: tuple[_Entry, ...], update: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    entries = {entry.id: entry for entry in before}
    entries.update((entry.id, entry) for entry in update)
    return tuple(entries.values())
