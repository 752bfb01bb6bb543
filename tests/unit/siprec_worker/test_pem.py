"""What is made of files that may be replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from siprec_worker.config import load
from siprec_worker.errors import SetupError
from siprec_worker.pem import MadeFromFiles


class Reader:
    """Makes the text of a file; "bad" is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        if (text := self.path.read_text()) == "bad":
            raise SetupError(text)
        return text


def replace(path: Path, text: str) -> None:
    """As the kubelet does it: another file in its place."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tls.crt"
    path.write_text("first")
    return path


def test_it_is_made_once_while_the_file_stays(file: Path) -> None:
    read = Reader(file)
    made = MadeFromFiles([file], read)

    assert [made.current(), made.current()] == ["first", "first"]
    assert read.times == 1


def test_it_is_made_anew_of_another_file(file: Path) -> None:
    made = MadeFromFiles([file], Reader(file))
    replace(file, "second")

    assert made.current() == "second"


def test_a_file_that_cannot_be_used_is_tried_once_and_the_one_before_stays(file: Path) -> None:
    read = Reader(file)
    made = MadeFromFiles([file], read)
    replace(file, "bad")

    assert [made.current(), made.current()] == ["first", "first"]
    assert read.times == 2
    replace(file, "third")
    assert made.current() == "third"


def test_what_changes_while_it_is_read_is_not_taken_yet(file: Path) -> None:
    read = Reader(file)

    def slowly() -> str:
        text = read()
        if read.times == 2:
            replace(file, "third")
        return text

    made = MadeFromFiles([file], slowly)
    replace(file, "second")

    assert made.current() == "first"
    assert made.current() == "third"


def test_one_that_was_read_half_written_is_read_again_within_the_same_tick_of_the_clock(
    file: Path,
) -> None:
    made = MadeFromFiles([file], Reader(file))
    for text in ("bad", "second"):  # the same file, written on
        file.write_text(text)
        os.utime(file, ns=(1, 1))
        last = made.current()
    assert last == "second"


def test_at_the_start_a_file_has_to_be_good(file: Path) -> None:
    file.write_text("bad")

    with pytest.raises(SetupError):
        MadeFromFiles([file], Reader(file))


@pytest.mark.parametrize("what", ["grpc", "agent"])
def test_a_certificate_without_its_key_is_refused(what: str) -> None:
    with pytest.raises(SetupError, match=f"--{what}-cert and --{what}-key go together"):
        load([f"--{what}-cert", "tls.crt"], {})
