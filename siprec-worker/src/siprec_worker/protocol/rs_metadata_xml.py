"""Recording metadata read from XML: RFC 7865, its drafts, and what vendors make of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from lxml import etree

from siprec_worker.errors import MetadataError
from siprec_worker.protocol.rs_metadata import (
    COMPLETE,
    PARTIAL,
    CommunicationSession,
    Extension,
    Group,
    NameId,
    Participant,
    RecordingMetadata,
    Stream,
)

MAX_METADATA_BYTES = 64 * 1024
MAX_ELEMENTS = 4096
LEG_NAMESPACE: Final = "urn:voicefork:siprec:1"
_ROOTS = ("recording", "recording_metadata")
_CONTENT = ("session", "participant", "stream")
# RFC 7865's own, those of its drafts, and none at all.
_NAMESPACE = re.compile(
    r"(?:urn:ietf:params:xml:ns:(?:recording|siprec)(?::[\w.-]*)?)?", re.IGNORECASE
)
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_BARE_AMPERSAND = re.compile(rb"&(?!(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);)")
_NAME = re.compile(rb"<name\b[^<>]*>")
_NAME_END = b"</name>"


def parse_metadata(data: bytes) -> RecordingMetadata:
    """Reads a metadata document; what is wrong but can be repaired is told in `.warnings`.

    Raises MetadataError for a DOCTYPE, another vocabulary, more than 64 KiB or 4096 elements, and
    for XML that cannot be read even with repair.
    """
    if len(data) > MAX_METADATA_BYTES:
        raise MetadataError(f"{len(data)} bytes of metadata")
    # Hardened lxml turns entities into nothing without a word, so no DTD gets that far. UTF-16
    # would hide it from the search.
    if _DOCTYPE.search(data) or data.startswith((b"\xfe\xff", b"\xff\xfe")) or b"\0" in data:
        raise MetadataError("a DOCTYPE or an encoding that could hide one")
    root, warnings = _read_tree(data.strip())
    return _Reader(root, warnings).metadata()


def _read_tree(data: bytes) -> tuple[etree._Element, list[str]]:
    """The tree, with the mildest repair that makes it readable.

    OpenSIPS writes display names and AORs without escaping: `<name>A&B <x></name>`.
    """
    try:
        return _root(data), []
    except etree.XMLSyntaxError as error:
        first = str(error)
    escaped = _escape_names(_BARE_AMPERSAND.sub(b"&amp;", data))
    try:
        return _root(escaped), [f"repaired escaping: {first}"]
    except etree.XMLSyntaxError as error:
        raise MetadataError(f"unreadable XML: {first}") from error


def _root(data: bytes) -> etree._Element:
    # A parser keeps its error log, so each document gets its own.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        return etree.fromstring(data, parser)
    except ValueError as error:
        raise MetadataError(f"unreadable XML: {error}") from error


def _escape_names(data: bytes) -> bytes:
    """A name goes to the last end of one on its line. In one pass: a regular expression that says
    so goes over the line once for each name, and 64 KiB of them hold up every call.
    """
    done, at = [], 0
    while (name := _NAME.search(data, at)) is not None:
        line_end = data.find(b"\n", name.end())
        line_end = len(data) if line_end < 0 else line_end
        end = data.rfind(_NAME_END, name.end(), line_end)
        if end < 0:
            done.append(data[at:line_end])
            at = line_end
            continue
        text = data[name.end() : end]
        done += data[at : name.end()], text.replace(b"<", b"&lt;").replace(b">", b"&gt;")
        at = end
    return b"".join([*done, data[at:]])


def recover_metadata(data: bytes) -> RecordingMetadata:
    """The last resort after parse_metadata failed: whatever a recovering parser still finds.

    Raises MetadataError where even that finds no recording element, and for any DOCTYPE.
    """
    if len(data) > MAX_METADATA_BYTES or _DOCTYPE.search(data) or b"\0" in data:
        raise MetadataError("not to be recovered")
    parser = etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(_BARE_AMPERSAND.sub(b"&amp;", data.strip()), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MetadataError(f"unreadable XML: {error}") from error
    if root is None:
        raise MetadataError("no element could be recovered")
    return _Reader(root, ["recovered from broken XML: parts may be missing"]).metadata()


def _local(element: etree._Element) -> str:
    """Taken from the tag's text, as QName refuses what a recovering parser lets through. Entity
    references that it keeps have no such tag and no name.
    """
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _namespace(element: etree._Element) -> str:
    tag = element.tag if isinstance(element.tag, str) else ""
    return tag[1:].partition("}")[0] if tag.startswith("{") else ""


def _plain(name: str) -> str:
    """Without case and separators: group-ref, groupRef and GROUP_REF are one."""
    return re.sub(r"[_-]", "", name).lower()


def _attributes(element: etree._Element) -> dict[str, str]:
    """By plain names without prefix: participant_id, participantId, rs:id."""
    return {
        _plain(str(name).rpartition("}")[2]): str(value) for name, value in element.attrib.items()
    }


def _text(element: etree._Element | None) -> str:
    """Text with line breaks taken out, as sipSessionID is folded in RFC 7865's own example."""
    return re.sub(r"\s*\n\s*", "", (element.text or "")).strip() if element is not None else ""


class _Reader:
    """Reads one tree. Names are compared without their prefix, ids under all their spellings."""

    def __init__(self, root: etree._Element, warnings: list[str]) -> None:
        self._root = root
        self._warnings = warnings
        self._namespace = _namespace(root)
        if _local(root).lower() not in _ROOTS or not self._of_a_recording():
            raise MetadataError(f"another vocabulary: {root.tag!r}")
        if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
            raise MetadataError(f"more than {MAX_ELEMENTS} elements")

    def _of_a_recording(self) -> bool:
        """Under a namespace of its own a root must have what a recording has."""
        known = _NAMESPACE.fullmatch(self._namespace) is not None
        return known or any(_plain(_local(child)) in _CONTENT for child in self._root)

    def _ours(self, element: etree._Element) -> bool:
        """Some write the root with a prefix and its children without, or the other way round."""
        if not isinstance(element.tag, str):
            return False
        namespace = _namespace(element)
        return namespace == self._namespace or bool(_NAMESPACE.fullmatch(namespace))

    def metadata(self) -> RecordingMetadata:
        datamode = self._child(self._root, "datamode")
        return RecordingMetadata(
            root=_local(self._root),
            namespace=self._namespace,
            datamode=PARTIAL if _text(datamode).lower() == PARTIAL else COMPLETE,
            groups=tuple(Group(self._id(e, "group")) for e in self._children(self._root, "group")),
            sessions=tuple(self._session(e) for e in self._children(self._root, "session")),
            participants=self._participants(),
            streams=tuple(self._stream(e) for e in self._children(self._root, "stream")),
            extensions=tuple(self._extensions(self._root)),
            warnings=tuple(self._warnings),
        )

    def _children(self, parent: etree._Element, name: str) -> Iterator[etree._Element]:
        for child in parent:
            if _plain(_local(child)) == name and self._ours(child):
                yield child

    def _child(self, parent: etree._Element, name: str) -> etree._Element | None:
        return next(self._children(parent, name), None)

    @staticmethod
    def _id(element: etree._Element, kind: str) -> str:
        named = _attributes(element)
        return (named.get(f"{kind}id") or named.get("id") or "").strip()

    @staticmethod
    def _ref(element: etree._Element, kind: str) -> str:
        named = _attributes(element)
        found = named.get(f"{kind}id") or named.get(kind) or named.get(f"{kind}ref") or ""
        return found.strip()

    def _session(self, element: etree._Element) -> CommunicationSession:
        group_ref = self._child(element, "groupref")
        return CommunicationSession(
            id=self._id(element, "session"),
            sip_session_id=_text(self._child(element, "sipsessionid")),
            group_id=_text(group_ref) or self._ref(element, "group"),
            start_time=_text(self._child(element, "starttime")),
        )

    def _stream(self, element: etree._Element) -> Stream:
        return Stream(
            id=self._id(element, "stream"),
            label=_text(self._child(element, "label")),
            session_id=self._ref(element, "session"),
            mode=_text(self._child(element, "mode")),
        )

    def _participants(self) -> tuple[Participant, ...]:
        found: dict[str, Participant] = {}

        def note(participant: Participant) -> None:
            if (before := found.get(participant.id)) is not None:
                # Some write an association for each stream.
                together = replace(
                    participant,
                    sends=_joined(before.sends, participant.sends),
                    receives=_joined(before.receives, participant.receives),
                )
                participant = before.updated(together)
            found[participant.id] = participant

        readers: dict[str, Callable[[etree._Element], Participant]] = {
            "participant": self._participant,
            "participantsessionassoc": self._session_association,
            "participantstreamassoc": self._stream_association,
        }
        for child in self._root:
            if self._ours(child) and (read := readers.get(_plain(_local(child)))):
                note(read(child))
        return tuple(found.values())

    def _participant(self, element: etree._Element) -> Participant:
        name_ids = [
            NameId(_attributes(name_id).get("aor", ""), _text(self._child(name_id, "name")))
            for name_id in element
            if self._ours(name_id) and _plain(_local(name_id)) == "nameid"
        ]
        name_ids += [NameId(_text(aor)) for aor in self._children(element, "aor")]
        return Participant(
            id=self._id(element, "participant"),
            name_ids=tuple(name_ids),
            session_id=self._ref(element, "session"),
            # The drafts put <send> into the participant itself.
            sends=self._stream_ids(element, "send") or None,
            receives=self._stream_ids(element, "recv") or None,
            leg_kind=_leg_kind(element),
            calling=_calling_party(element),
        )

    def _session_association(self, element: etree._Element) -> Participant:
        return Participant(
            id=self._ref(element, "participant"),
            session_id=self._ref(element, "session"),
            associate_time=_text(self._child(element, "associatetime")),
            disassociate_time=_text(self._child(element, "disassociatetime")),
        )

    def _stream_association(self, element: etree._Element) -> Participant:
        """One that is over (RFC 7865 section 6.9) takes its streams from the participant."""
        id_ = self._ref(element, "participant")
        sends, receives = self._stream_ids(element, "send"), self._stream_ids(element, "recv")
        if _text(self._child(element, "disassociatetime")):
            return Participant(id_, left_streams=frozenset((*sends, *receives)))
        return Participant(id_, sends=sends, receives=receives)

    def _stream_ids(self, element: etree._Element, kind: str) -> tuple[str, ...]:
        ids = []
        for child in self._children(element, kind):
            nested = [_text(e) for e in self._children(child, "id")]
            ids += nested or [_text(child)]
        return tuple(i for i in ids if i)

    def _extensions(self, parent: etree._Element) -> Iterator[Extension]:
        in_extensiondata = _local(parent) == "extensiondata"
        for child in parent:
            if not isinstance(child.tag, str):
                continue
            if in_extensiondata or not self._ours(child):
                xml = etree.tostring(child, with_tail=False)
                yield Extension(_local(child), _namespace(child), _local(parent), xml)
            else:
                yield from self._extensions(child)


def _joined(before: tuple[str, ...] | None, more: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if before is None or more is None:
        return before if more is None else more
    return tuple(dict.fromkeys((*before, *more)))


def _leg_kind(participant: etree._Element) -> str:
    leg = participant.find(f"{{{LEG_NAMESPACE}}}leg")
    kind = (leg.get("kind") or "").lower() if leg is not None else ""
    return kind if kind in ("customer", "pbx") else ""


def _calling_party(participant: etree._Element) -> bool | None:
    for element in participant.iter():
        if _local(element) == "callingParty":
            return _text(element).lower() == "true"
    return None
