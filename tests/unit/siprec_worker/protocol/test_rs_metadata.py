"""Recording metadata: what is read, what is repaired, what is refused."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import MetadataError
from siprec_worker.protocol.rs_metadata_xml import parse_metadata, recover_metadata

from tests.builders.siprec import ALICE, BOB, Party, metadata


@given(st.binary(max_size=300))
def test_any_bytes_are_metadata_or_a_metadata_error(data: bytes) -> None:
    for document in (data, b"<recording>" + data + b"</recording>"):
        for read in (parse_metadata, recover_metadata):
            with suppress(MetadataError):
                read(document)


def test_who_sends_which_label_is_read() -> None:
    read = parse_metadata(metadata())
    assert read.stream_owner == {"1": (ALICE.aor,), "0": (BOB.aor,)}
    assert (read.sip_session_id, read.datamode) == ("call@carrier", "complete")
    assert [p.name for p in read.participants] == ["Alice Carrier", ""]


def test_names_that_opensips_did_not_escape_are_repaired_and_told() -> None:
    read = parse_metadata(metadata([Party("sip:a&b;k=v@h", "1", "A&B <x>"), BOB]))
    assert (read.participants[0].aor, read.participants[0].name) == ("sip:a&b;k=v@h", "A&B <x>")
    assert len(read.warnings) == 1


def test_what_is_escaped_stays_as_it_is() -> None:
    read = parse_metadata(metadata([Party("sip:a&amp;b@h", "1", "&#65;&amp;B"), BOB]))
    assert (read.participants[0].aor, read.participants[0].name) == ("sip:a&b@h", "A&B")
    assert read.warnings == ()


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE r [<!ENTITY a "b">]><recording/>',
        b"<!doctype recording><recording/>",
        '<!DOCTYPE r><recording xmlns=""/>'.encode("utf-16"),
        b"<html/>",
        b"<recording xmlns='urn:other'/>",
        b"<recording>",
        b"",
        b"<recording>" + b"<a/>" * 5000 + b"</recording>",
        b"<recording>" + b" " * 70_000 + b"</recording>",
        b"<recording>" + b"<a>" * 1000 + b"</a>" * 1000 + b"</recording>",
    ],
    ids=["entity", "doctype", "utf-16", "html", "namespace", "cut off", "empty", "elements",
         "size", "depth"],
)  # fmt: skip
def test_hostile_or_foreign_documents_are_refused(document: bytes) -> None:
    with pytest.raises(MetadataError):
        parse_metadata(document)


def test_a_broken_document_can_still_be_searched() -> None:
    broken = metadata().replace(b"</recording>", b"<oops></recording>")
    with pytest.raises(MetadataError):
        parse_metadata(broken)
    read = recover_metadata(broken)
    assert read.stream_owner["1"] == (ALICE.aor,)
    assert read.warnings


def test_a_recovered_document_may_hold_prefixes_that_nobody_declared() -> None:
    broken = metadata([Party("sip:a@h", "1", extension="<sip:src>&x;<sip:y"), BOB])
    assert recover_metadata(broken).participants[0].aor == "sip:a@h"


@pytest.mark.parametrize(
    "namespace",
    ["urn:ietf:params:xml:ns:recording:1", "urn:ietf:params:xml:ns:recording",
     "urn:ietf:params:xml:ns:siprec"],
)  # fmt: skip
def test_all_three_namespaces_are_read(namespace: str) -> None:
    document = metadata().replace(b"urn:ietf:params:xml:ns:recording:1", namespace.encode())
    assert parse_metadata(document).namespace == namespace
    assert len(parse_metadata(document).participants) == 2


def test_a_partial_update_amends_and_a_complete_one_replaces() -> None:
    before = parse_metadata(metadata())
    hold = parse_metadata(
        b"<recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>partial</datamode>"
        b'<participantstreamassoc participant_id="p0"><recv>st1</recv></participantstreamassoc>'
        b"</recording>"
    )
    held = before.merged(hold)
    assert held.stream_owner == {"1": (), "0": (BOB.aor,)}
    assert held.participants[0].aor == ALICE.aor
    assert held.merged(before) == before


def test_vendor_elements_are_kept_as_they_came() -> None:
    extension = "<x:tag xmlns:x='urn:x'>42</x:tag>"
    read = parse_metadata(metadata([Party("sip:a@h", "1", extension=extension), BOB]))
    (kept,) = read.extensions
    assert (kept.name, kept.namespace, kept.parent) == ("tag", "urn:x", "participant")
    assert b"42</x:tag>" in kept.xml


def test_real_opensips_metadata_with_a_bad_name_is_read(shared: Path) -> None:

    text = (shared / "captures/opensips/INVITE-malformed-xml.txt").read_bytes()
    document = text[text.index(b"<?xml") : text.index(b"</recording>") + 12]
    read = parse_metadata(document)
    assert read.participants[0].name == "A&B <x>"
    assert set(read.stream_owner) == {"0", "1"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"urn:ietf:params:xml:ns:recording:1", b"urn:ietf:params:xml:ns:recording"),
        (b"urn:ietf:params:xml:ns:recording:1", b"urn:ietf:params:xml:ns:siprec"),
        (b" xmlns='urn:ietf:params:xml:ns:recording:1'", b""),
        (b"participant_id", b"id"),
        (b"participant_id", b"participantId"),
        (b"participant_id", b"participant"),
        (b"stream_id", b"id"),
        (b"nameID", b"nameId"),
        (b"session_id", b"session"),
    ],
)
def test_a_vendors_spelling_says_the_same(before: bytes, after: bytes) -> None:
    document = metadata()
    if after == b"participant":  # only where it refers to one
        document = document.replace(b"<participantstreamassoc " + before, b"<X ")
        document = document.replace(b"<X ", b"<participantstreamassoc " + after)
    elif after == b"id":
        element = before.removesuffix(b"_id")
        document = document.replace(b"<" + element + b" " + before, b"<" + element + b" id")
    elif after == b"session":
        document = document.replace(b"<session " + before, b"<session id")
        document = document.replace(before, after)
    else:
        document = document.replace(before, after)
    read = parse_metadata(document)
    assert read.stream_owner == {"1": (ALICE.aor,), "0": (BOB.aor,)}
    assert [stream.session_id for stream in read.streams] == ["s1", "s1"]


def test_a_prefix_on_the_root_alone_changes_nothing() -> None:
    document = metadata().replace(b"<recording xmlns=", b"<rs:recording xmlns:rs=")
    document = document.replace(b"</recording>", b"</rs:recording>")
    assert parse_metadata(document).stream_owner == {"1": (ALICE.aor,), "0": (BOB.aor,)}


def partial(*parts: str) -> bytes:
    namespace = "urn:ietf:params:xml:ns:recording:1"
    head = f"<recording xmlns='{namespace}'><datamode>partial</datamode>"
    return (head + "".join(parts) + "</recording>").encode()


def attends(party: str, session: str, *times: str) -> str:
    inside = "".join(f"<{name}>2026-01-01T00:0{n}:00Z</{name}>" for n, name in enumerate(times))
    return (
        f"<participantsessionassoc participant_id='{party}' session_id='{session}'>{inside}"
        "</participantsessionassoc>"
    )


def test_an_association_that_is_over_takes_only_its_streams() -> None:
    over = "<disassociate-time>2026-01-01T00:00:00Z</disassociate-time>"
    joined = parse_metadata(
        partial("<participantstreamassoc participant_id='p0'><send>st0</send><send>st1</send>"
                "<recv>st1</recv></participantstreamassoc>")
    )  # fmt: skip
    left = parse_metadata(
        partial(f"<participantstreamassoc participant_id='p0'>{over}<send>st1</send>"
                "</participantstreamassoc>")
    )  # fmt: skip
    alice = parse_metadata(metadata()).merged(joined).merged(left).participants[0]
    assert (alice.sends, alice.receives) == (("st0",), ())
    assert alice.aor == ALICE.aor


def test_who_comes_back_is_there_again() -> None:
    left = parse_metadata(partial(attends("p0", "s1", "associate-time", "disassociate-time")))
    back = partial(attends("p0", "s1", "x", "x", "associate-time"))
    again = parse_metadata(partial(attends("p0", "s1", "associate-time")))
    gone = parse_metadata(metadata()).merged(left)
    assert gone.participants[0].disassociate_time
    assert gone.merged(again).participants[0].disassociate_time  # the same time once more
    assert not gone.merged(parse_metadata(back)).participants[0].disassociate_time


def test_leaving_a_session_that_was_left_for_another_changes_nothing() -> None:
    moved = parse_metadata(partial(attends("p0", "s2", "associate-time")))
    left = parse_metadata(partial(attends("p0", "s1", "x", "disassociate-time")))
    party = parse_metadata(metadata()).merged(moved).merged(left).participants[0]
    assert (party.session_id, party.disassociate_time) == ("s2", "")


def test_names_that_never_end_hold_up_nobody() -> None:
    data = b"<recording>" + b"<name>" * 10_000
    began = time.process_time()
    with pytest.raises(MetadataError):
        parse_metadata(data)
    assert time.process_time() - began < 0.5
