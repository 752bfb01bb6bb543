"""Any bytes as SIP: parsed, cut out of a stream, answered. Nothing but SipError may come out."""

from __future__ import annotations

from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["siprec_worker.protocol"]):
    from siprec_worker.errors import SipError
    from siprec_worker.protocol.sip.events import Invited
    from siprec_worker.protocol.sip.flow import Flow
    from siprec_worker.protocol.sip.framing import StreamFramer
    from siprec_worker.protocol.sip.parsing import parse_message
    from siprec_worker.protocol.sip.settings import UasSettings
    from siprec_worker.protocol.sip.uas import Uas

from tests.builders.sip import ANSWER
from tests.fuzz.running import run

FLOW = Flow("tcp", "127.0.0.1", 40123, connection=1)
SECONDS = 40.0  # past every transaction's timers
PIECE = 97


def target(data: bytes) -> None:
    with suppress(SipError):
        message = parse_message(data)
        parse_message(message.encode())
    uas = Uas(UasSettings("127.0.0.1", 5090), new_token=lambda: "token")
    for message_bytes in [data, *_framed(data)]:
        uas.receive(message_bytes, FLOW, 0.0)
        _answer(uas, 0.0)
    now = 0.0
    while (due := uas.next_timeout()) is not None and due < SECONDS:
        now = max(now, due)
        uas.handle_timeout(now)
        _answer(uas, now)


def _framed(data: bytes) -> list[bytes]:
    framer, messages = StreamFramer(), []
    with suppress(SipError):
        for start in range(0, len(data), PIECE):
            messages += framer.receive(data[start : start + PIECE])
    return messages


def _answer(uas: Uas, now: float) -> None:
    for event in uas.events():
        if isinstance(event, Invited):
            uas.accept(event.dialog_id, ANSWER, now)
    for outgoing in uas.messages_to_send():
        parse_message(outgoing.data)


if __name__ == "__main__":
    run(target)
