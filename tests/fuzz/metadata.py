"""Any bytes as recording metadata: read, repaired, merged, shown. Only MetadataError comes out."""

from __future__ import annotations

import json
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["siprec_worker.protocol", "siprec_worker.session"]):
    from siprec_worker.errors import MetadataError
    from siprec_worker.protocol.legs import legs
    from siprec_worker.protocol.rs_metadata_xml import parse_metadata, recover_metadata
    from siprec_worker.session.source_view import metadata_view

from tests.builders.siprec import metadata
from tests.fuzz.running import run

KNOWN = parse_metadata(metadata())


def target(data: bytes) -> None:
    for read in (parse_metadata, recover_metadata):
        with suppress(MetadataError):
            document = read(data)
            merged = KNOWN.merged(document)
            assert len(legs(merged, ["1", "0"])) == 2
            json.dumps(metadata_view(merged))


if __name__ == "__main__":
    run(target)
