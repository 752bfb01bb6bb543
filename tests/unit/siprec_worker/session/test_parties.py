"""What a recording client's documents do to a call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from siprec_worker.session.parties import MOST_WARNINGS, ReadMetadata, apply_metadata


def test_documents_that_cannot_be_read_fill_a_call_with_no_more_than_so_many_warnings() -> None:
    call: Any = SimpleNamespace(warnings=[], metadata=None, recovered_metadata=None)
    for number in range(2 * MOST_WARNINGS):
        for _ in range(2):
            apply_metadata(call, ReadMetadata(fault=f"line {number}"))
    assert len(call.warnings) == MOST_WARNINGS
    assert len(set(call.warnings)) == MOST_WARNINGS
