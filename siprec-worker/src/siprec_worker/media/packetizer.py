"""The RTP header of the talk-back: sequence, timestamp, marker (RFC 3550 section 5.1)."""

from __future__ import annotations

from siprec_worker.protocol.rtp import HEADER, PLAIN

SAMPLES_PER_FRAME = 160
"""20 ms on the RTP clock of PCMU, PCMA and G722 (8 kHz for all: RFC 3551 section 4.5.2)."""
_MARKER = 0x80


class Packetizer:
    """Numbers the packets of one talk-back; random first values come from outside."""

    __slots__ = ("_sequence", "_ssrc", "_talking", "_timestamp", "payload_type")

    def __init__(self, payload_type: int, *, ssrc: int, sequence: int, timestamp: int) -> None:
        self.payload_type = payload_type
        self._ssrc = ssrc
        self._sequence = sequence
        self._timestamp = timestamp
        self._talking = False

    def packet(self, payload: bytes, *, speaking: bool) -> bytes:
        """The next 20 ms. The marker is set where silence ends (RFC 3551 section 4.1)."""
        second = self.payload_type
        if speaking and not self._talking:
            second |= _MARKER
        self._talking = speaking
        header = HEADER.pack(PLAIN, second, self._sequence, self._timestamp, self._ssrc)
        self._sequence = self._sequence + 1 & 0xFFFF
        self._timestamp = self._timestamp + SAMPLES_PER_FRAME & 0xFFFFFFFF
        return header + payload

    def skip(self, frames: int) -> None:
        """Time that went by without packets: the timestamp moves, the sequence does not."""
        self._timestamp = self._timestamp + frames * SAMPLES_PER_FRAME & 0xFFFFFFFF
