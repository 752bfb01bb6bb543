"""Any datagrams, in any order and at any time, to a call's tracks: positions rise, lengths fit."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["siprec_worker.media", "siprec_worker.protocol"]):
    from siprec_worker.media.call_audio import CallAudio
    from siprec_worker.media.model import AudioChunk, AudioFormat, Encoding, Gap
    from siprec_worker.media.speech import SpeechWatch
    from siprec_worker.protocol.rtp import RtpPacket, write_rtp

from tests.fuzz.running import run

PAYLOADS = {
    0: ("PCMU", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    13: ("CN", 8000),
    96: ("opus", 48_000),
    97: ("L16", 16_000),
    98: ("L16", 48_000),
    101: ("telephone-event", 8000),
    102: ("telephone-event", 48_000),
}
TYPES = (*PAYLOADS, 18)
FORMS = (
    AudioFormat(Encoding.PCM_S16LE, 8000),
    AudioFormat(Encoding.PCM_S16LE, 16_000),
    AudioFormat(Encoding.PCM_S16LE, 24_000),
    AudioFormat(Encoding.G711_ULAW, 8000),
    AudioFormat(Encoding.G711_ALAW, 8000),
)
MAX_STEPS = 200
LONGEST_PACKET = 1920  # 1/8000 s


def datagram(data: atheris.FuzzedDataProvider) -> bytes:
    """Half of them headers that fit together, half of them anything."""
    if data.ConsumeBool():
        return bytes(data.ConsumeBytes(data.ConsumeIntInRange(0, 64)))
    size = data.PickValueInList([0, 1, 4, 80, 160, 240, 320, 960, 1920])
    packet = RtpPacket(
        data.PickValueInList(list(TYPES)),
        data.ConsumeIntInRange(0, 0xFFFF) if data.ConsumeBool() else data.ConsumeIntInRange(0, 30),
        data.ConsumeIntInRange(0, 0xFFFFFFFF)
        if data.ConsumeBool()
        else 160 * data.ConsumeIntInRange(0, 200),
        data.ConsumeIntInRange(1, 2),
        bytes(data.ConsumeBytes(min(size, 12))).ljust(size, b"\x55"),
    )
    return write_rtp(packet)


class Heard:
    """What came out so far, and that it fits together."""

    def __init__(self, uplink: AudioFormat, chunk_ms: int) -> None:
        self._samples = 8 * chunk_ms
        self._bytes = self._samples * uplink.pts_factor * uplink.bytes_per_sample
        self._reached: dict[int, int] = {}
        self._told: dict[int, int] = {}
        self._speech = SpeechWatch(uplink)

    def take(self, item: object, clock: int) -> None:
        match item:
            case AudioChunk(pts, legs):
                assert pts % self._samples == 0
                for leg in legs:
                    assert pts >= self._reached.get(leg.handle, 0)
                    assert len(leg.data) == self._bytes
                    self._reached[leg.handle] = pts + self._samples
                    self._speech.hear(leg.handle, pts, leg.data)
                assert pts <= clock + 8 * self._samples + LONGEST_PACKET
            case Gap(leg, start, end):
                assert self._told.get(leg, 0) <= start < end
                self._told[leg] = end


def target(raw: bytes) -> None:
    data = atheris.FuzzedDataProvider(raw)
    uplink = data.PickValueInList(list(FORMS))
    chunk_ms = data.PickValueInList([20, 40, 60])
    audio = CallAudio(0.0, uplink=uplink, chunk_ms=chunk_ms)
    tracks = [audio.add_track(handle, PAYLOADS) for handle in (1, 2)]
    audio.want((1, 2))
    heard = Heard(uplink, chunk_ms)
    now = 0.011
    for _ in range(MAX_STEPS):
        if not data.remaining_bytes():
            break
        match data.ConsumeIntInRange(0, 9):
            case 0:
                now += 0.02 * data.ConsumeIntInRange(0, 200)
            case 1:
                audio.update_track(1, {0: ("PCMU", 8000)} if data.ConsumeBool() else PAYLOADS)
            case 2:
                audio.want((1,) if data.ConsumeBool() else (1, 2))
            case 3:
                tracks[0].receive_rtcp(bytes(data.ConsumeBytes(40)))
                audio.report_blocks(now)
            case _:
                tracks[data.ConsumeIntInRange(0, 1)].receive(datagram(data))
        if data.ConsumeBool():
            now += 0.02
            for item in audio.tick(now):
                heard.take(item, audio.position(now))
    audio.stats()


if __name__ == "__main__":
    run(target)
