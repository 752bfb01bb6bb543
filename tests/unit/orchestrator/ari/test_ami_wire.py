"""AMI's framing: what is written is one action, what is read is whole messages or an error."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.ari.ami_wire import (
    LONGEST_MESSAGE,
    AmiBroken,
    AmiReader,
    challenge_answer,
    write_action,
)
from orchestrator.errors import PeerError

KEYS = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,10}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=30)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=5), st.integers(1, 20))
def test_what_is_written_is_read_again_in_whatever_pieces_it_comes(
    fields: list[tuple[str, str]], piece: int
) -> None:
    written = write_action("Setvar", "vf-1", fields)
    reader = AmiReader()
    read = []
    for at in range(0, len(written), piece):
        read += reader.feed(written[at : at + piece])
    (message,) = read
    assert message.fields == (("Action", "Setvar"), ("ActionID", "vf-1"), *fields)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_peer_error(data: bytes) -> None:
    with suppress(PeerError):
        AmiReader().feed(data)


@pytest.mark.parametrize("value", ["x\r\nAction: Originate", "x\nAction: Command", "x\r"])
def test_a_value_cannot_begin_a_second_action(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        write_action("Setvar", "vf-1", [("Value", value)])


def test_the_greeting_belongs_to_no_message() -> None:
    reader = AmiReader()
    (message,) = reader.feed(b"Asterisk Call Manager/11.0.0\r\nResponse: Success\r\n\r\n")
    assert reader.greeting == "Asterisk Call Manager/11.0.0"
    assert message.fields == (("Response", "Success"),)


def test_keys_may_repeat_and_come_in_any_case() -> None:
    (message,) = AmiReader().feed(b"response: Success\r\nOutput: a\r\nOutput: b: c\r\n\r\n")
    assert message.get("Response") == "Success"
    assert message.all("output") == ("a", "b: c")


def test_a_message_without_end_is_an_error() -> None:
    reader = AmiReader()
    with pytest.raises(AmiBroken):
        reader.feed(b"Output: x\r\n" * (LONGEST_MESSAGE // 10))


def test_a_line_without_end_is_an_error() -> None:
    with pytest.raises(AmiBroken):
        AmiReader().feed(b"x" * (LONGEST_MESSAGE + 1))


def test_the_secret_is_answered_as_md5_of_challenge_and_secret() -> None:
    assert challenge_answer("840415273", "secret") == "81c3ab5534a432bec402f6d988ee45b4"
