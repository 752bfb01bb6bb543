"""Writes the trial's music on hold: a quiet chord that comes and goes. music.py FILE.wav"""

from __future__ import annotations

import math
import struct
import sys
import wave

RATE, SECONDS, LEVEL = 8000, 12, 2500
CHORD = (262, 330, 392)  # Hz

with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, RATE, 0, "NONE", ""))
    for at in range(RATE * SECONDS):
        swell = math.sin(math.pi * (at % (3 * RATE)) / (3 * RATE))
        chord = sum(math.sin(2 * math.pi * hz * at / RATE) for hz in CHORD)
        file.writeframesraw(struct.pack("<h", round(LEVEL * swell * chord)))
