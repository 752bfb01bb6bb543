"""From linear samples to the talk-back's codec: one direction, one call."""

from __future__ import annotations

from array import array

from G722 import G722

from siprec_worker.media.decode import G722_BIT_RATE
from siprec_worker.media.g711 import linear_to_alaw, linear_to_ulaw
from siprec_worker.media.model import TalkbackCodec
from siprec_worker.media.resample import Halver

WIDEBAND = 16_000

PAYLOAD_TYPES = {TalkbackCodec.PCMU: 0, TalkbackCodec.PCMA: 8, TalkbackCodec.G722: 9}
"""RFC 3551 table 4: the static types, the only ones Asterisk's external media takes back."""


class TalkbackEncoder:
    """Encodes 20 ms after 20 ms, at 8 or 16 kHz in any order."""

    __slots__ = ("_g722", "_halver", "codec")

    def __init__(self, codec: TalkbackCodec) -> None:
        self.codec = codec
        self._halver: Halver | None = None
        self._g722: dict[int, G722] = {}

    def encode(self, pcm: bytes, rate: int) -> bytes:
        """20 ms of 16-bit samples at `rate` (8000 or 16000) to the 160 octets of a packet."""
        if self.codec is TalkbackCodec.G722:
            # The coder's 8 kHz mode fills the lower band alone, so nothing is resampled.
            coder = self._g722.get(rate)
            if coder is None:
                coder = self._g722[rate] = G722(rate, G722_BIT_RATE)
            return coder.encode(array("h", pcm))
        if rate == WIDEBAND:
            if self._halver is None:
                self._halver = Halver()
            pcm = self._halver.halve(pcm)
        return linear_to_alaw(pcm) if self.codec is TalkbackCodec.PCMA else linear_to_ulaw(pcm)
