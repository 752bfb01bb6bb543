"""Multipart bodies as real clients write them."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import MultipartError
from siprec_worker.protocol.multipart import (
    MAX_PARTS,
    Part,
    multipart_mixed,
    parse_content_type,
    parse_multipart,
    recording_body,
)

from tests.builders.sdp import sdp
from tests.builders.siprec import MULTIPART, metadata, siprec_body

TYPE = 'multipart/mixed;boundary="b 1"'
PART = "Content-Type: application/sdp\r\n\r\nv=0"


def bodies(body: str | bytes) -> list[bytes]:
    data = body.encode() if isinstance(body, str) else body
    return [part.body for part in parse_multipart(TYPE, data)]


@given(
    st.lists(st.binary(max_size=60).filter(lambda b: b"frontier" not in b), min_size=1, max_size=9)
)
def test_written_parts_read_back(payloads: list[bytes]) -> None:
    written = multipart_mixed([Part("application/sdp", p) for p in payloads], "frontier")
    read = parse_multipart("multipart/mixed;boundary=frontier", written)
    assert [part.body for part in read] == payloads


@given(st.binary(max_size=300))
def test_any_bytes_are_parts_or_a_multipart_error(data: bytes) -> None:
    with suppress(MultipartError):
        recording_body("multipart/mixed;boundary=x", b"--x" + data)


@pytest.mark.parametrize(
    "body",
    [
        f"--b 1\r\n{PART}\r\n--b 1--\r\n",
        f"--b 1\r\n{PART}\r\n--b 1--",
        f"--b 1\r\n{PART}\r\n--b 1-- \r\nepilogue",
        f"\r\n--b 1\r\n{PART}\r\n--b 1--",
        f"preamble\r\n--b 1\r\n{PART}\r\n--b 1--",
        f"--b 1\r\n{PART}",
        f"--b 1\r\n{PART}\r\n--b 1--".replace("\r\n", "\n"),
        f"--b 1\r\nContent-Disposition: session;\r\n handling=required\r\n{PART}\r\n--b 1--",
        f"--b 1\r\nContent-Length: 3\r\n{PART}\r\n--b 1--",
        f"--b 1  \r\n{PART}\r\n--b 1--",
    ],
    ids=["plain", "no last line end", "blank and epilogue", "leading line end", "preamble",
         "no last boundary", "bare LF", "folded header", "length header", "padded boundary"],
)  # fmt: skip
def test_the_part_is_found(body: str) -> None:
    assert bodies(body) == [b"v=0"]


@pytest.mark.parametrize(
    ("encoding", "coded"),
    [("base64", base64.b64encode(b"v=0\r\n")), ("Quoted-Printable", b"v=3D0")],
)
def test_transfer_encodings_are_taken_off(encoding: str, coded: bytes) -> None:
    head = f"--b 1\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    (body,) = bodies(head + coded + b"\r\n--b 1--")
    assert body.strip() == b"v=0"


def test_two_boundaries_in_a_row_are_an_empty_part() -> None:
    assert len(bodies(f"--b 1\r\n\r\n--b 1\r\n{PART}\r\n--b 1--")) == 2


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/mixed", b"v=0\r\n--x\r\n\r\n--x--"),
        ("multipart/mixed;boundary=x", b"nothing"),
        ("multipart/mixed;boundary=x", b"\r\n--x\r\n\r\na" * (MAX_PARTS + 2)),
        (
            "multipart/mixed;boundary=x",
            b"--x\r\nContent-Transfer-Encoding: rot13\r\n\r\na\r\n--x--",
        ),
    ],
    ids=["no boundary", "boundary nowhere", "too many parts", "unknown encoding"],
)
def test_what_cannot_be_taken_apart_is_an_error(content_type: str, body: bytes) -> None:
    with pytest.raises(MultipartError):
        parse_multipart(content_type, body)


def test_sdp_and_metadata_are_told_apart() -> None:
    found = recording_body(MULTIPART[1], siprec_body(sdp(), metadata()))
    assert (found.sdp, found.metadata, found.others) == (sdp(), metadata(), ())


def test_a_nested_multipart_is_searched() -> None:
    inner = siprec_body(sdp(), metadata())
    outer = multipart_mixed([Part(MULTIPART[1], inner)], "outer")
    assert recording_body("multipart/related;boundary=outer", outer).sdp == sdp()


def test_nesting_is_bounded() -> None:
    body, content_type = b"v=0", "application/sdp"
    for depth in range(6):
        body = multipart_mixed([Part(content_type, body)], f"b{depth}")
        content_type = f"multipart/mixed;boundary=b{depth}"
    with pytest.raises(MultipartError):
        recording_body(content_type, body)


def test_quoted_parameters_may_hold_semicolons_and_escapes() -> None:
    parsed = parse_content_type('Multipart/Mixed ; Boundary="a;\\"b" ; x=y')
    assert (parsed.media_type, parsed.params) == ("multipart/mixed", {"boundary": 'a;"b', "x": "y"})


@pytest.mark.parametrize("declared", ["multipart/mixed", "multipart/mixed;boundary=other"])
def test_a_body_with_another_boundary_than_the_declared_one_is_read_by_its_own(
    declared: str,
) -> None:
    assert recording_body(declared, f"--real\r\n{PART}\r\n--real--".encode()).sdp == b"v=0"


@pytest.mark.parametrize("type_line", ["", "Content-Type: text/plain\r\n", "X: y\r\n"])
def test_a_part_that_says_nothing_of_its_type_is_known_by_its_first_bytes(type_line: str) -> None:
    parts = [f"--x\r\n{type_line}\r\n{text}\r\n" for text in ("v=0", "<rec:recording a='b'/>")]
    content = recording_body("multipart/mixed;boundary=x", ("".join(parts) + "--x--").encode())
    assert (content.sdp, content.metadata) == (b"v=0", b"<rec:recording a='b'/>")
