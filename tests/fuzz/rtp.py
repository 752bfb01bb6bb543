"""Any datagrams on a leg: parsed, reordered, decoded, ticked. A parser may only raise RtpError.

The input is cut into datagrams by a length byte before each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["siprec_worker.protocol", "siprec_worker.media"]):
    from siprec_worker.errors import RtpError
    from siprec_worker.media.call_audio import CallAudio
    from siprec_worker.protocol.rtcp import parse_rtcp
    from siprec_worker.protocol.rtp import parse_rtp

from tests.fuzz.running import run

PAYLOADS = {0: ("PCMU", 8000), 8: ("PCMA", 8000), 101: ("telephone-event", 8000), 13: ("CN", 8000)}


def target(data: bytes) -> None:
    audio = CallAudio(0.0)
    track = audio.add_track(1, PAYLOADS)
    audio.want({1})
    for number, datagram in enumerate(_datagrams(data), start=1):
        for parse in (parse_rtp, parse_rtcp):
            with suppress(RtpError):
                parse(datagram)
        track.receive(datagram)
        track.receive_rtcp(datagram)
        for _ in audio.tick(number * 0.02):
            pass
    for tick in range(10):
        for _ in audio.tick(10.0 + tick * 0.02):
            pass


def _datagrams(data: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(data):
        length = data[position]
        yield data[position + 1 : position + 1 + length]
        position += 1 + length


if __name__ == "__main__":
    run(target)
