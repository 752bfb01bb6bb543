"""Bencode of rtpengine's NG protocol."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voicefork_cli.sim.bencode import bdecode, bencode
from voicefork_cli.sim.errors import WireError

VALUES = st.recursive(
    st.integers(-(2**62), 2**62) | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_a_command_is_written_in_the_order_of_its_keys() -> None:
    command = {"call-id": "a", "flags": ["all", "siprec"], "command": "query"}
    assert bencode(command) == b"d7:call-id1:a5:flagsl3:all6:siprece7:command5:querye"


@given(VALUES)
def test_what_is_written_is_read_back(value: int) -> None:
    assert bdecode(bencode(value)) == value


@given(st.binary(max_size=40) | st.text("dlei0123456789:-", max_size=30).map(str.encode))
def test_no_bytes_raise_anything_but_a_wire_error(data: bytes) -> None:
    with contextlib.suppress(WireError):
        bdecode(data)


@pytest.mark.parametrize(
    "data", [b"", b"i5", b"ie", b"3:ab", b"-1:", b"di1e1:ae", b"d1:ae", b"i1ei2e", b"l" * 100]
)
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        bdecode(data)
