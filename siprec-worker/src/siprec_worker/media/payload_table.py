"""What the payload types of one m-line are: audio of some codec, keys, or comfort noise."""

from __future__ import annotations

from collections.abc import Mapping

from siprec_worker.media.decode import Decoder, make_decoder
from siprec_worker.media.model import AudioFormat
from siprec_worker.media.unit_clock import UnitClock

Payloads = Mapping[int, tuple[str, int]]
"""Payload type to (SDP encoding name, RTP clock rate)."""

RTP_CLOCK = 8000  # the grid's; timestamps of other clocks are brought to it


class PayloadTable:
    """By payload type. What is in none of them is not supported."""

    __slots__ = ("comfort_types", "decoders", "event_rates", "unit_clocks")

    def __init__(self, payloads: Payloads, uplink: AudioFormat) -> None:
        self.decoders: dict[int, Decoder] = {}
        self.event_rates: dict[int, int] = {}
        self.comfort_types: set[int] = set()
        self.unit_clocks: dict[int, UnitClock] = {}  # where not 8 kHz
        clocks: dict[int, UnitClock] = {}  # by rate
        for number, (name, rate) in payloads.items():
            if rate != RTP_CLOCK:
                self.unit_clocks[number] = clocks.setdefault(rate, UnitClock(rate))
            match name.upper():
                case "TELEPHONE-EVENT":
                    self.event_rates[number] = rate
                case "CN":
                    self.comfort_types.add(number)
                case codec:
                    if (decoder := make_decoder(codec, uplink, rate)) is not None:
                        self.decoders[number] = decoder

    @property
    def heavy(self) -> bool:
        """Some codec is to be run off the event loop."""
        return any(decoder.heavy for decoder in self.decoders.values())

    @property
    def event_rate(self) -> int:
        """The clock of keys whose packet is not known any more."""
        return min(self.event_rates.values(), default=RTP_CLOCK)

    def look(self, timestamp: int, rate: int) -> int:
        """A timestamp of an event's clock in 1/8000 s; the clock is not moved by it."""
        clock = next((c for c in self.unit_clocks.values() if c.rate == rate), None)
        return timestamp if clock is None else clock.look(timestamp)
