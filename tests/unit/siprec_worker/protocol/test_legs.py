"""Which line is the customer's."""

from __future__ import annotations

import pytest
from siprec_worker.protocol.legs import LegHints, called_party, legs
from siprec_worker.protocol.rs_metadata_xml import parse_metadata

from tests.builders.siprec import ALICE, BOB, Party, metadata

IN, OUT = LegHints("in"), LegHints("out")


def leg_mark(kind: str) -> str:
    return f"<vf:leg xmlns:vf='urn:voicefork:siprec:1' kind='{kind}'/>"


def kinds(parties: list[Party], labels: list[str | None], hints: LegHints = IN) -> list[str]:
    return [leg.kind for leg in legs(parse_metadata(metadata(parties)), labels, hints)]


@pytest.mark.parametrize(
    ("hints", "expected"), [(IN, ["customer", "pbx"]), (OUT, ["pbx", "customer"])]
)
def test_the_first_participant_is_the_caller(hints: LegHints, expected: list[str]) -> None:
    assert kinds([ALICE, BOB], ["1", "0"], hints) == expected


def test_the_order_of_the_lines_does_not_matter() -> None:
    assert kinds([ALICE, BOB], ["0", "1"]) == ["pbx", "customer"]


def test_our_own_element_beats_the_order_and_the_direction() -> None:
    parties = [
        Party("sip:pbx@h", "1", extension=leg_mark("pbx")),
        Party("sip:cust@h", "0", extension=leg_mark("customer")),
    ]
    assert kinds(parties, ["1", "0"], IN) == ["pbx", "customer"]
    assert kinds(parties, ["1", "0"], OUT) == ["pbx", "customer"]


def test_one_marked_party_of_two_settles_the_other() -> None:
    parties = [ALICE, Party("sip:c@h", "0", extension=leg_mark("customer"))]
    assert kinds(parties, ["1", "0"]) == ["pbx", "customer"]


def test_the_attribution_carries_aor_and_name() -> None:
    leg = legs(parse_metadata(metadata()), ["1", "0"], IN)[0]
    assert (leg.label, leg.aor, leg.name, leg.warnings) == ("1", ALICE.aor, ALICE.name, ())


def test_an_unknown_direction_is_doubted() -> None:
    assert all(leg.warnings for leg in legs(parse_metadata(metadata()), ["1", "0"]))


@pytest.mark.parametrize(
    ("hints", "expected"), [(IN, ["customer", "pbx"]), (OUT, ["pbx", "customer"])]
)
def test_without_metadata_the_sdp_order_counts_with_a_warning(
    hints: LegHints, expected: list[str]
) -> None:
    found = legs(None, ["a", "b"], hints)
    assert [leg.kind for leg in found] == expected
    assert all("SDP order" in " ".join(leg.warnings) for leg in found)


def test_labels_that_the_metadata_does_not_know_fall_back_to_the_sdp_order() -> None:
    assert kinds([ALICE, BOB], ["a_leg", "b_leg"]) == ["customer", "pbx"]


def test_a_mixed_stream_is_nobodys() -> None:
    mixed = [ALICE, Party("sip:b@h", "1")]
    document = metadata(mixed).replace(b'stream_id="st1"', b'stream_id="st0"')
    document = document.replace(b"<send>st1</send>", b"<send>st0</send>")
    (leg,) = legs(parse_metadata(document), ["1"], IN)
    assert leg.kind == "unknown"


def test_one_line_without_metadata_is_unknown() -> None:
    assert [leg.kind for leg in legs(None, ["1"], IN)] == ["unknown"]


def test_a_mix_of_the_other_side_is_still_that_side() -> None:
    carol = Party("sip:carol@h", "2")
    document = metadata([ALICE, BOB, carol]).replace(b'stream_id="st2"', b'stream_id="st1"')
    document = document.replace(b"<send>st2</send>", b"<send>st1</send>")
    document = document.replace(b"<label>2</label>", b"<label>0</label>")
    found = legs(parse_metadata(document), ["1", "0"], IN)
    assert [leg.kind for leg in found] == ["customer", "pbx"]
    assert any("mix" in warning for warning in found[1].warnings)


def test_without_associations_parties_go_with_the_lines_in_order() -> None:
    document = metadata([ALICE, BOB]).replace(b"participantstreamassoc", b"other")
    found = legs(parse_metadata(document), ["a", "b"], IN)
    assert [leg.aor for leg in found] == [ALICE.aor, BOB.aor]
    assert all("SDP order" in leg.warnings[-1] for leg in found)


def test_three_lines_without_associations_are_unknown_but_named() -> None:
    parties = [ALICE, BOB, Party("sip:carol@h", "2")]
    document = metadata(parties).replace(b"participantstreamassoc", b"other")
    found = legs(parse_metadata(document), ["1", "0", "2"], IN)
    assert {leg.kind for leg in found} == {"unknown"}
    assert found[2].aor == "sip:carol@h"


def calling(truth: str) -> str:
    return f"<x:callingParty xmlns:x='urn:x'>{truth}</x:callingParty>"


@pytest.mark.parametrize(
    ("first", "second"), [("false", "true"), ("false", ""), ("", "true")], ids=str
)
def test_who_is_said_to_call_or_not_to_call_beats_the_order(first: str, second: str) -> None:
    marks = [calling(truth) if truth else "" for truth in (first, second)]
    parties = [
        Party(party.aor, party.label, extension=mark)
        for party, mark in zip((ALICE, BOB), marks, strict=True)
    ]
    assert kinds(parties, ["1", "0"]) == ["pbx", "customer"]
    assert called_party(parse_metadata(metadata(parties))) == ALICE.aor


def test_the_called_party_is_the_last_of_those_who_did_not_call() -> None:
    third = Party("sip:third@h", "2")
    assert called_party(parse_metadata(metadata([ALICE, BOB, third]))) == third.aor
    assert called_party(parse_metadata(metadata([ALICE]))) == ""
    assert called_party(None) == ""
