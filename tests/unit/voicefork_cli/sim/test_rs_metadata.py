"""Recording metadata and messages, byte for byte as captured from OpenSIPS 3.6.8."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from voicefork_cli.sim.message import Message, parse_message
from voicefork_cli.sim.rs_metadata import (
    CALLEE,
    CALLER,
    LabelledStream,
    MetadataWriter,
    Party,
    RecordedCall,
    marked_party,
    recording_body,
)
from voicefork_cli.sim.src_wire import RECORDING_HEADERS, SrcDialog

CALLED_AT = datetime(2026, 11, 22, 12, 52, 27, tzinfo=UTC)
STREAMS = (LabelledStream(CALLER, "1"), LabelledStream(CALLEE, "0"))


def captured(shared: Path, name: str, number: int = 0) -> Message:
    text = (shared / "captures" / "opensips" / name).read_text()
    message = text.split("# t=")[number + 1].partition("\n")[2].replace("\n", "\r\n")
    head, _, rest = message.partition("\r\n\r\n")
    body = rest[: rest.rindex("--\r\n") + 4] if "--OSS" in rest else ""
    return parse_message(f"{head}\r\n\r\n{body}".encode())


def drawn(xml: str) -> list[str]:
    """The ids of a captured document, in the order in which the writer draws them."""
    session = re.search(r'<session session_id="([^"]+)"', xml)
    assert session is not None
    return [
        session[1],
        *re.findall(r'<participant participant_id="([^"]+)"', xml),
        *re.findall(r'stream_id="([^"]+)"', xml),
    ]


@pytest.mark.parametrize(
    ("name", "caller"),
    [
        ("INVITE.txt", Party("sip:+14155550100@127.0.0.10:5065", "Alice Carrier")),
        ("INVITE-malformed-xml.txt", Party("sip:a&b;k=v@127.0.0.10:5065", "A&B <x>")),
    ],
)
def test_the_body_is_that_of_opensips(shared: Path, name: str, caller: Party) -> None:
    wanted = captured(shared, name).body
    xml = wanted.partition(b"<?xml")[2].decode()
    ids = iter(drawn(xml))
    time = re.search(r"<associate-time>([^<]+)", xml)
    sip_call_id = re.search(r"<sipSessionID>([^<]+)", xml)
    assert time is not None
    assert sip_call_id is not None
    call = RecordedCall(
        sip_call_id[1],
        caller,
        Party("sip:+14155550199@127.0.0.1:5060"),
        "tenant-42",
        "<ext:route xmlns:ext='urn:example:fork'>did=+14155550199</ext:route>",
    )
    writer = MetadataWriter(call, datetime.fromisoformat(time[1]), lambda: next(ids))
    sdp = wanted.partition(b"\r\n\r\n")[2].partition(b"\r\n--OSS")[0]
    assert recording_body(sdp, writer.write(STREAMS)) == wanted


def test_the_headers_are_those_of_opensips(shared: Path) -> None:
    wanted = captured(shared, "INVITE.txt")
    dialog = SrcDialog(
        "sip:127.0.0.1:5090", "sip:src@127.0.0.1", "sip:127.0.0.1:5060", "UDP 127.0.0.1:5060"
    )
    own = [("X-Carrier-Call-ID", "1-27115@127.0.0.10"), ("X-Tenant", "42")]
    written = dialog.request("INVITE", headers=[*own, *RECORDING_HEADERS], body=wanted.body)
    assert written.start == wanted.start
    assert _masked(written) == _masked(wanted)


@pytest.mark.parametrize(("name", "number"), [("BYE.txt", 0), ("ANSWER-200-and-ACK.txt", 1)])
def test_requests_in_the_dialog_are_those_of_opensips(shared: Path, name: str, number: int) -> None:
    wanted = captured(shared, name, number)
    dialog = SrcDialog(
        "sip:127.0.0.1:5090", "sip:src@127.0.0.1", "sip:127.0.0.1:5060", "UDP 127.0.0.1:5060"
    )
    dialog.request("INVITE")
    dialog.established(captured(shared, "ANSWER-200-and-ACK.txt"))
    written = dialog.request(wanted.method)
    assert written.start == wanted.start
    assert _masked(written) == _masked(wanted)


def test_a_refused_bye_is_answered_as_opensips_does(shared: Path) -> None:
    wanted = captured(shared, "SRS-BYE-gets-405.txt", 1)
    dialog = SrcDialog("sip:127.0.0.1:5090", "", "sip:127.0.0.1:5060", "UDP 127.0.0.1:5060")
    request = captured(shared, "SRS-BYE-gets-405.txt")
    assert dialog.reply(request, 405, "Method not Allowed").encode() == wanted.encode()


def test_the_ids_stay_and_the_times_are_those_of_the_beginning() -> None:
    writer = MetadataWriter(RecordedCall("c", Party("sip:a"), Party("sip:b")), CALLED_AT)
    assert writer.write(STREAMS) == writer.write(STREAMS)
    assert b"2026-11-22T12:52:27+0000" in writer.write(STREAMS)


def test_a_party_without_aor_is_dropped_with_its_stream() -> None:
    writer = MetadataWriter(RecordedCall("c", Party("sip:a"), Party()), CALLED_AT)
    xml = writer.write(STREAMS)
    assert xml.count(b"<participant ") == xml.count(b"<label>") == 1
    assert b"<recv>" not in xml


def test_our_own_parties_are_escaped_and_say_their_leg() -> None:
    party = marked_party("sip:a&b@h", 'A&B "<x>"', "customer")
    assert party.raw_xml == (
        '<nameID aor="sip:a&amp;b@h"><name>A&amp;B &quot;&lt;x&gt;&quot;</name></nameID>'
        "<vf:leg xmlns:vf='urn:voicefork:siprec:1' kind='customer'/>"
    )


def test_later_answers_do_not_move_the_remote_target() -> None:
    dialog = SrcDialog("sip:127.0.0.1:5090", "", "sip:127.0.0.1:5060", "UDP 127.0.0.1:5060")
    for contact in ("<sip:srs@127.0.0.1:1>;+sip.srs", "<sip:other@127.0.0.1:2>"):
        dialog.established(
            Message("SIP/2.0 200 OK", [("To", "<sip:x>;tag=t"), ("Contact", contact)])
        )
    assert dialog.next_hop == "sip:srs@127.0.0.1:1"


def _masked(message: Message) -> list[tuple[str, str]]:
    """Headers with what is drawn by chance made equal."""
    chance = r"branch=[^;]+|tag=[0-9a-f]{32}-[0-9a-f]{4}|B2B\.[\d.]+"
    headers = parse_message(message.encode()).headers
    return [(name, re.sub(chance, "*", value)) for name, value in headers]
