"""What a frame of 20 ms costs, by codec: CPU microseconds of decoding, and of decryption.

    python -m bench.codecs

Prints one line of JSON. Over warm caches: in a loaded worker it is somewhat more.
"""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Callable

from pylibsrtp import Policy, Session
from siprec_worker.media.call_audio import UPLINK
from siprec_worker.media.decode import make_decoder
from siprec_worker.media.model import AudioFormat, Encoding
from siprec_worker.media.speech import SpeechWatch

FRAMES = 400
ROUNDS = 5
WIDE = AudioFormat(Encoding.PCM_S16LE, 16_000)
CODECS = (
    ("PCMU", 8000, 160, UPLINK, "PCMU"),
    ("PCMA", 8000, 160, UPLINK, "PCMA"),
    ("L16", 16_000, 640, WIDE, "L16 at 16 kHz"),
    ("PCMU", 8000, 160, WIDE, "PCMU to 16 kHz"),
    ("G722", 8000, 160, UPLINK, "G.722 to 8 kHz"),
    ("G722", 8000, 160, WIDE, "G.722 to 16 kHz"),
)


def best_us(work: Callable[[int], object]) -> float:
    """Of `work(0)` to `work(FRAMES - 1)`, each once a round: the best round's mean."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for number in range(FRAMES):
            work(number)
        best = min(best, time.thread_time() - began)
    return round(1e6 * best / FRAMES, 2)


def codecs() -> dict[str, float]:
    noise = random.Random(1)
    costs = {}
    for name, clock, octets, uplink, title in CODECS:
        decoder = make_decoder(name, uplink, clock)
        if decoder is not None:
            frames = [noise.randbytes(octets) for _ in range(FRAMES)]
            decode = decoder.to_uplink
            costs[title] = best_us(lambda n, f=frames, d=decode: d(f[n]))  # type: ignore[misc]
    return costs


def opus() -> dict[str, float]:
    """Nothing where libopus is not installed."""
    decoder = make_decoder("OPUS", WIDE, 48_000)
    if decoder is None:
        return {}
    from opuslib_next import (  # type: ignore[import-untyped]  # noqa: PLC0415 - needs libopus
        APPLICATION_VOIP,
        Encoder,
    )

    noise = random.Random(2)
    encoder = Encoder(16_000, 1, APPLICATION_VOIP)
    frames = [
        encoder.encode(struct.pack("<320h", *(noise.randint(-3000, 3000) for _ in range(320))), 320)
        for _ in range(FRAMES)
    ]
    return {"Opus to 16 kHz": best_us(lambda n: decoder.to_uplink(frames[n]))}


def srtp() -> dict[str, float]:
    """AES_CM_128_HMAC_SHA1_80. A session takes each packet once: one a round."""
    key = random.Random(3).randbytes(30)
    sender = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [
        sender.protect(struct.pack("!BBHII", 0x80, 0, n, n * 160, 7) + bytes(160))
        for n in range(FRAMES * ROUNDS)
    ]
    session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND))
    waiting = iter(packets)
    return {"SRTP": best_us(lambda _: session.unprotect(next(waiting)))}


def speech() -> dict[str, float]:
    noise = random.Random(4)
    watch = SpeechWatch(UPLINK)
    loud = [struct.pack("<160h", *(noise.randint(-9000, 9000) for _ in range(160)))] * FRAMES
    return {
        "speech detection": best_us(lambda n: watch.hear(1, 160 * n, loud[n])),
        "speech detection, silence": best_us(lambda n: watch.hear(2, 160 * n, bytes(320))),
    }


if __name__ == "__main__":
    print(json.dumps(codecs() | opus() | srtp() | speech()))
