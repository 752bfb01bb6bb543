"""Which description of ours follows which."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from siprec_worker.protocol.sdp import parse_sdp
from siprec_worker.session.negotiation import offered_again

LAST = (
    b"v=0\r\no=voicefork 7 3 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\na=recvonly\r\na=label:1\r\nm=audio 0 RTP/AVP 0\r\n"
)


def test_a_description_offered_after_another_workers_has_a_higher_number_and_says_the_same() -> (
    None
):
    last = parse_sdp(LAST)
    call: Any = SimpleNamespace(sdp_version=3, local_sdp=last)
    offer = parse_sdp(offered_again(call, last))
    assert offer.origin.split()[1:3] == ["7", "5"]
    assert (offer.media, offer.connection) == (last.media, last.connection)
    assert (call.sdp_version, call.local_sdp) == (5, offer)
