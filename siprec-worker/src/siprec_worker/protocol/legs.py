"""Which m-line is the customer's voice and which is what the customer hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from siprec_worker.protocol.rs_metadata import Participant, RecordingMetadata

CUSTOMER: Final = "customer"
PBX: Final = "pbx"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class LegHints:
    """What headers say: X-Voicefork-Direction `in` (the customer called) or `out`; "" = nothing."""

    direction: str = ""


@dataclass(frozen=True, slots=True)
class LegAttribution:
    """One recorded m-line: whose voice it is. Doubts are named in `warnings`."""

    label: str
    kind: str  # CUSTOMER, PBX or UNKNOWN
    aor: str = ""
    name: str = ""
    warnings: tuple[str, ...] = ()


def legs(
    metadata: RecordingMetadata | None,
    labels: Sequence[str | None],
    hints: LegHints = LegHints(),
) -> list[LegAttribution]:
    """Attributes each offered m-line, given by its label in SDP order.

    The first of these that answers: our own `vf:leg` element, an extension that names the calling
    party, the participants' order (OpenSIPS puts the caller first), the SDP order. A stream that
    several participants send is a mix: UNKNOWN, unless all of them are on the same side.
    """
    named = [label or "" for label in labels]
    if metadata is None:
        return _by_sdp_order(named, hints, ("no metadata",))
    senders = {label: _senders(metadata, label) for label in named}
    if not any(senders.values()):
        doubt = "no label of the SDP has a sender in the metadata"
        return _by_sdp_order(named, hints, (doubt,), _present(metadata))
    kinds, doubts = _kinds_by_participant(metadata, hints)
    return [_attributed(label, senders[label], kinds, doubts) for label in named]


def _senders(metadata: RecordingMetadata, label: str) -> list[Participant]:
    return [
        participant
        for participant in _present(metadata)
        if label in metadata.labels(participant.sends)
    ]


def _present(metadata: RecordingMetadata) -> list[Participant]:
    """A party that has left the session no longer counts."""
    return [party for party in metadata.participants if not party.disassociate_time]


def _attributed(
    label: str, senders: list[Participant], kinds: dict[str, str], doubts: tuple[str, ...]
) -> LegAttribution:
    if not senders:
        return LegAttribution(label, UNKNOWN, warnings=("nobody is said to send this stream",))
    found = {kinds.get(sender.id, UNKNOWN) for sender in senders}
    kind = found.pop() if len(found) == 1 else UNKNOWN
    if len(senders) > 1:
        mix = "the stream is a mix of several parties"
        return LegAttribution(label, kind, warnings=(mix, *doubts))
    return LegAttribution(label, kind, senders[0].aor, senders[0].name, doubts)


def _kinds_by_participant(
    metadata: RecordingMetadata, hints: LegHints
) -> tuple[dict[str, str], tuple[str, ...]]:
    parties = metadata.participants
    marked = {party.id: party.leg_kind for party in parties if party.leg_kind}
    if marked:
        return _completed(marked, parties), ()
    doubts = () if hints.direction else ("direction of the call unknown, taken as incoming",)
    caller = _caller(parties)
    caller_kind, other_kind = _caller_and_callee(hints)
    kinds = {party.id: other_kind for party in parties}
    kinds[caller.id] = caller_kind
    return kinds, doubts


def _caller(parties: Sequence[Participant]) -> Participant:
    """Who is said to have called, else the first of whom it is not denied."""
    said = (party for party in parties if party.calling)
    possible = (party for party in parties if party.calling is None)
    return next(said, None) or next(possible, parties[0])


def called_party(metadata: RecordingMetadata | None) -> str:
    """AOR of the last participant who did not call; "" where nobody is known."""
    parties = metadata.participants if metadata is not None else ()
    others = [party for party in parties if party is not _caller(parties)]
    return others[-1].aor if others else ""


def _completed(marked: dict[str, str], parties: Sequence[Participant]) -> dict[str, str]:
    """Where only one of two parties is marked, the other is the other."""
    unmarked = [party.id for party in parties if party.id not in marked]
    if len(marked) == 1 and len(unmarked) == 1:
        (kind,) = marked.values()
        return {**marked, unmarked[0]: PBX if kind == CUSTOMER else CUSTOMER}
    return marked


def _by_sdp_order(
    labels: Sequence[str],
    hints: LegHints,
    warnings: tuple[str, ...],
    parties: Sequence[Participant] = (),
) -> list[LegAttribution]:
    """Two lines: the caller's leg first, as rtpengine most often writes it. Else unknown.

    `parties` are taken in the same order where there are as many as lines.
    """
    kinds = _caller_and_callee(hints)
    doubts = (*warnings, "legs taken in SDP order")
    if len(labels) != len(kinds):
        kinds, doubts = (UNKNOWN,) * len(labels), warnings
    known = len(parties) == len(labels)
    return [
        LegAttribution(
            label,
            kind,
            parties[number].aor if known else "",
            parties[number].name if known else "",
            doubts,
        )
        for number, (label, kind) in enumerate(zip(labels, kinds, strict=True))
    ]


def _caller_and_callee(hints: LegHints) -> tuple[str, ...]:
    return (PBX, CUSTOMER) if hints.direction == "out" else (CUSTOMER, PBX)
