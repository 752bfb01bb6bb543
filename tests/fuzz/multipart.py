"""Any bytes as a body: the first line is its Content-Type. Only MultipartError may come out."""

from __future__ import annotations

from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["siprec_worker.protocol"]):
    from siprec_worker.errors import MultipartError
    from siprec_worker.protocol.multipart import MAX_PARTS, recording_body

from tests.fuzz.running import run


def target(data: bytes) -> None:
    content_type, _, body = data.partition(b"\n")
    with suppress(MultipartError):
        content = recording_body(content_type.decode("utf-8", "surrogateescape"), body)
        assert len(content.others) <= MAX_PARTS**3


if __name__ == "__main__":
    run(target)
