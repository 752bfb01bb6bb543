"""What callers of a bank say, as phrases tuned for a telephone line.

Thresholds were tuned on flite's voices slt, kal16, rms and awb through 8 kHz u-law. "dispute" is
heard there without its s, which lies above 4 kHz: hence two more ways to say it, in longer phrases.
"""

from __future__ import annotations

from voicefork_sdk.speech.phrases import Phrase

NARROW = {"dispute-f": "D IH F B Y UW T", "dispute-b": "D IH B Y UW T"}
PHRASES = (
    Phrase("dispute", "dispute", 1e-16),
    Phrase("to dispute", "dispute", 1e-26),
    *(
        Phrase(phrase.format(word), "dispute", threshold, phrase.format("dispute"))
        for word in ("dispute", *NARROW)
        for phrase, threshold in (
            ("want to {}", 1e-30),
            ("{} this charge", 1e-35),
            ("{} the charge", 1e-35),
            ("{} a charge", 1e-35),
        )
    ),
    Phrase("opening hours", "hours", 1e-38),
    Phrase("balance", "balance", 1e-5),
    Phrase("my balance", "balance", 1e-15),
    Phrase("account balance", "balance", 1e-28),
    Phrase("goodbye", "goodbye", 1e-4),  # ends the call: rather missed than mistaken
    Phrase("to a human", "human", 1e-20),
    Phrase("to an agent", "human", 1e-28),
)
