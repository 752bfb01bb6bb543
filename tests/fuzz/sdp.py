"""Any bytes as an offer: read, answered and offered again. Only errors of the peer may come out."""

from __future__ import annotations

from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["siprec_worker.protocol"]):
    from siprec_worker.errors import OfferRejected, SdpError
    from siprec_worker.media.capabilities import installed_capabilities
    from siprec_worker.protocol.offer_answer import answer, recordable_lines, reoffer
    from siprec_worker.protocol.sdp import parse_sdp
    from siprec_worker.session.source_view import offer_view

from tests.fuzz.running import run

CAPABILITIES = installed_capabilities()


def target(data: bytes) -> None:
    with suppress(SdpError, OfferRejected):
        offer = parse_sdp(data)
        assert len(parse_sdp(offer.encode()).media) == len(offer.media)
        offer_view(offer)
        lines = recordable_lines(offer, CAPABILITIES)
        ports = {index: 30000 + 2 * index for index in lines}
        made = answer(offer, CAPABILITIES, "127.0.0.1", ports)
        assert [line.kind for line in parse_sdp(made.body).media] == [m.kind for m in offer.media]
        reoffer(made.sdp, "127.0.0.1", ports, 2)


if __name__ == "__main__":
    run(target)
