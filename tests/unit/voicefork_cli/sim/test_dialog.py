"""Dialog state of the simulated parties."""

from __future__ import annotations

from voicefork_cli.sim.dialog import Dialog, contact_uri
from voicefork_cli.sim.message import Message


def answer(contact: str, *record_route: str) -> Message:
    routes = [("Record-Route", route) for route in record_route]
    return Message("SIP/2.0 200 OK", [*routes, ("To", "<sip:b>;tag=2"), ("Contact", contact)])


def test_the_caller_takes_the_route_backwards() -> None:
    dialog = Dialog("c", "<sip:a>;tag=1", "<sip:b>", "sip:b", "<sip:a>")
    dialog.established(answer("<sip:b@h:9>", "<sip:two;lr>, <sip:one;lr>", "<sip:zero;lr>"))
    assert dialog.route == ["<sip:zero;lr>", "<sip:one;lr>", "<sip:two;lr>"]
    assert dialog.next_hop == "<sip:zero;lr>"
    request = dialog.request("BYE", "UDP a:1")
    assert request.uri == "sip:b@h:9"
    assert request.all("Route") == dialog.route
    assert request.get("To") == "<sip:b>;tag=2"


def test_the_called_one_takes_it_forwards_and_makes_a_tag() -> None:
    invite = Message(
        "INVITE sip:b SIP/2.0",
        [
            ("Record-Route", "<sip:one;lr>"),
            ("Record-Route", "<sip:two;lr>"),
            ("From", "<sip:a>;tag=1"),
            ("To", "<sip:b>"),
            ("Call-ID", "c"),
            ("Contact", "<sip:a@h:9>"),
        ],
    )
    dialog = Dialog.answering(invite, "<sip:b>")
    assert dialog.route == ["<sip:one;lr>", "<sip:two;lr>"]
    assert dialog.remote == "<sip:a>;tag=1"
    assert dialog.local.startswith("<sip:b>;tag=")


def test_only_new_requests_count() -> None:
    dialog = Dialog("c", "<sip:a>", "<sip:b>", "sip:b", "<sip:a>")
    numbers = [
        dialog.request("INVITE", "UDP a:1").cseq,
        dialog.request("ACK", "UDP a:1", cseq=1).cseq,
        dialog.request("BYE", "UDP a:1").cseq,
    ]
    assert numbers == [1, 1, 2]


def test_contacts_are_read_bare_bracketed_and_doubled() -> None:
    for contact in ("sip:a@h:1;x=y", "<sip:a@h:1>;+sip.srs", "<<sip:a@h:1>;+sip.src>"):
        assert contact_uri(answer(contact)) == "sip:a@h:1"
