"""What TLS changes in our messages: Via, Contact and the way back."""

from __future__ import annotations

import pytest
from siprec_worker.protocol.sip.flow import Flow, Outgoing
from siprec_worker.protocol.sip.parsing import parse_message
from siprec_worker.protocol.sip.settings import UasSettings

from tests.builders.sdp import sdp
from tests.builders.sip import ANSWER, SDP, Bench, request

FLOW = Flow("tls", "127.0.0.1", 40999, connection=3)


def called(contact: str) -> Bench:
    bench = Bench(UasSettings("127.0.0.1", 5090, tls_port=5091), FLOW)
    via = "SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bKtls"
    headers = [("Contact", contact), SDP]
    bench.accepted(request("INVITE", via=via, body=sdp(), headers=headers), ANSWER)
    return bench


def bye(bench: Bench) -> Outgoing:
    bench.uas.messages_to_send()
    bench.uas.bye(bench.uas.dialog_ids[0], bench.now)
    (outgoing,) = bench.uas.messages_to_send()
    return outgoing


@pytest.mark.parametrize(
    ("contact", "ours"),
    [
        ("<sip:127.0.0.1:5061;transport=tls>", "<sip:srs@127.0.0.1:5091;transport=tls>;+sip.srs"),
        ("<sips:127.0.0.1:5061>", "<sips:srs@127.0.0.1:5091;transport=tls>;+sip.srs"),
    ],
)
def test_our_contact_has_the_tls_port_and_the_peers_scheme(contact: str, ours: str) -> None:
    assert called(contact).responses[-1].headers.get("contact") == ours


@pytest.mark.parametrize(
    ("contact", "port"),
    [
        ("<sip:127.0.0.1:5071;transport=tls>", 5071),
        ("<sips:127.0.0.1>", 5061),
        ("<sip:127.0.0.1;transport=TLS>", 5061),
        ("<sip:127.0.0.1:5071>", 5071),
    ],
)
def test_our_requests_take_the_same_connection(contact: str, port: int) -> None:
    outgoing = bye(called(contact))
    assert outgoing.flow == FLOW
    assert (outgoing.target.transport, outgoing.target.port) == ("tls", port)
    via = parse_message(outgoing.data).top_via
    assert (via.transport, via.host, via.port) == ("TLS", "127.0.0.1", 5091)
