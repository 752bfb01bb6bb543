"""The AI's voice on its way to the caller: queued, paced by who asks for frames, cut within one.

Pure: `frame()` gives the next 20 ms whenever it is called, silence when nothing is queued, because
a bridged channel without RTP is dead air for the caller. What happened is told by `events()`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np

from siprec_worker.media.model import AudioFormat, Encoding, PlayState, PlayStatus, TalkbackCodec
from siprec_worker.media.talkback_encoder import WIDEBAND, TalkbackEncoder
from siprec_worker.media.utterance import Utterance

FRAME_MS = 20
NARROWBAND = 8_000
PCM_RATES = (NARROWBAND, WIDEBAND, 24_000)
LONGEST_PAUSE_MS = 3000
"""An AI that was asked and does not answer leaves the caller in silence no longer than this."""
MAX_UTTERANCES = 256  # queued at once
_MAX_REFUSED = 256  # ids of which late pieces are ignored
_MAX_EVENTS = 1024


class Playout:
    """The queue of utterances of one call.

    Utterances play in the order in which they began. One that runs dry before its last piece waits
    for more (STARVED), unless another is queued behind it: then the AI has moved on, and it counts
    as finished. Pieces of an utterance that was cut are ignored.
    """

    def __init__(
        self,
        source: AudioFormat,
        *,
        buffer_ms: int = 30_000,
        lead_in_ms: int = 60,
        progress_ms: int = 1000,
    ) -> None:
        """`lead_in_ms` of silence go out before the first utterance of the call.

        Raises ValueError for a source that is neither PCM at 8, 16 or 24 kHz nor G.711.
        """
        self.speaking = False
        self._buffer_ms = buffer_ms
        self._lead_in = lead_in_ms // FRAME_MS
        self._progress_ms = progress_ms
        self._encoder = TalkbackEncoder(TalkbackCodec.PCMU)
        self._queue: deque[Utterance] = deque()
        self._refused: dict[str, None] = {}
        self._events: deque[PlayState] = deque(maxlen=_MAX_EVENTS)
        self._fading = b""  # the last of what was cut
        self._rate = NARROWBAND  # of the last frame
        self._frozen = self._paused = False
        self._pause_frames = 0  # left of a pause
        self._phrase = ""  # the only utterance that a frozen playout takes
        self.set_source(source)

    @property
    def idle(self) -> bool:
        """Nothing is queued, and no utterance waits for more."""
        return not self._queue and not self._fading

    @property
    def queued_ms(self) -> int:
        return sum(utterance.queued_ms for utterance in self._queue)

    @property
    def frozen(self) -> bool:
        """Only a phrase is played, if anything."""
        return self._frozen

    @property
    def playing(self) -> tuple[str, int] | None:
        """Id and barge of the utterance under way."""
        if self._queue and self._queue[0].started:
            return self._queue[0].identifier, self._queue[0].barge
        return None

    def queued_with(self, barge: int) -> list[str]:
        """The utterances that have that rule, the one under way included."""
        return [utterance.identifier for utterance in self._queue if utterance.barge == barge]

    def set_source(self, source: AudioFormat) -> None:
        """What `speak` brings from now on, for utterances that have not begun."""
        linear = source.encoding is Encoding.PCM_S16LE
        if source.sample_rate not in (PCM_RATES if linear else (NARROWBAND,)):
            raise ValueError(f"no playout of {source.encoding.name} at {source.sample_rate} Hz")
        self._source = source

    def set_codec(self, codec: TalkbackCodec) -> None:
        """What `frame` gives from now on."""
        if codec is not self._encoder.codec:
            self._encoder = TalkbackEncoder(codec)

    def speak(self, utterance_id: str, data: bytes, *, last: bool = False, barge: int = 0) -> None:
        """Queues a piece. More than `buffer_ms` in all is refused (OVERRUN)."""
        if utterance_id in self._refused:
            if last:
                del self._refused[utterance_id]
            return
        if self._frozen and utterance_id != self._phrase:
            self._tell(PlayState(utterance_id, PlayStatus.CUT))
            if not last:
                self._refuse(utterance_id)
            return
        utterance = self._find(utterance_id)
        if utterance is None:
            if len(self._queue) >= MAX_UTTERANCES:
                self._tell(PlayState(utterance_id, PlayStatus.OVERRUN, 0, self.queued_ms))
                return
            utterance = Utterance(utterance_id, self._source, barge)
            self._queue.append(utterance)
        utterance.last = utterance.last or last
        queued = self.queued_ms
        if data and queued + utterance.milliseconds(data) > self._buffer_ms:
            played = utterance.played_ms
            self._tell(PlayState(utterance_id, PlayStatus.OVERRUN, played, queued))
        else:
            utterance.append(data)

    def clear(self, utterance_ids: Collection[str] = (), fade_ms: int = 0) -> None:
        """Cuts these utterances, or all: the next frame is silent, but for a fade within it."""
        everything = not utterance_ids
        self._cut([u for u in self._queue if everything or u.identifier in utterance_ids], fade_ms)

    def mark(self, name: str) -> None:
        """Asks for a MARK once everything queued now was played, or will not be any more."""
        if not any(u.left for u in self._queue) or not self._queue[-1].mark(name):
            self._tell(PlayState("", PlayStatus.MARK, mark=name))

    def freeze(self, except_id: str = "") -> int:
        """Cuts everything but one phrase, and takes no more; gives the ms of it still queued."""
        self._frozen, self._phrase = True, except_id
        self._paused = False
        self._cut([u for u in self._queue if u.identifier != except_id])
        return self.queued_ms

    def unfreeze(self) -> None:
        self._frozen, self._phrase = False, ""

    def pause(self, limit_ms: int = LONGEST_PAUSE_MS) -> None:
        """Holds the queue: silence goes out until `resume`, or until the limit is over."""
        self._paused = bool(self._queue)
        self._pause_frames = limit_ms // FRAME_MS

    def resume(self) -> None:
        self._paused = False

    def events(self) -> list[PlayState]:
        """What happened since the last call."""
        if not self._events:
            return []
        events = list(self._events)
        self._events.clear()
        return events

    def frame(self) -> bytes:
        """The next 20 ms: 160 octets of the talk-back's codec."""
        pcm = b""
        if self._fading:
            pcm, self._fading = self._fading, b""
        elif self._paused and self._pause_frames:
            self._pause_frames -= 1
        elif self._queue:
            self._paused = False
            if self._lead_in:
                self._lead_in -= 1
            else:
                pcm = self._next_audio()
        self.speaking = bool(pcm)
        size = 2 * self._rate * FRAME_MS // 1000
        if len(pcm) < size:
            pcm += bytes(size - len(pcm))
        return self._encoder.encode(pcm, self._rate)

    def _next_audio(self) -> bytes:
        """Up to a frame of the queue; utterances of one rate follow without a gap."""
        parts: list[bytes] = []
        room = size = 0
        while self._queue and (not parts or room):
            utterance = self._queue[0]
            if not parts:
                self._rate = utterance.rate
                room = size = utterance.frame_bytes
            elif utterance.rate != self._rate:
                break
            if audio := self._play(utterance, room):
                parts.append(audio)
                room = size - sum(map(len, parts))
            if utterance.left:
                continue
            if utterance.last or len(self._queue) > 1:
                self._finish(utterance)
            elif room:
                self._starve(utterance)
                break
            else:
                break
        return b"".join(parts)

    def _play(self, utterance: Utterance, room: int) -> bytes:
        audio = utterance.take(room)
        if not audio:
            return audio
        if not utterance.started:
            utterance.started = True
            self._report(utterance, PlayStatus.STARTED)
        if utterance.played_ms - utterance.reported >= self._progress_ms:
            utterance.reported = utterance.played_ms
            self._report(utterance, PlayStatus.PROGRESS)
        for name in utterance.marks_reached():
            self._tell(PlayState(utterance.identifier, PlayStatus.MARK, mark=name))
        return audio

    def _finish(self, utterance: Utterance) -> None:
        self._queue.popleft()
        self._report(utterance, PlayStatus.FINISHED)
        self._settle(utterance)

    def _starve(self, utterance: Utterance) -> None:
        if utterance.started and not utterance.starved:
            utterance.starved = True
            self._report(utterance, PlayStatus.STARVED)

    def _cut(self, doomed: list[Utterance], fade_ms: int = 0) -> None:
        for utterance in doomed:
            if fade_ms and utterance is self._queue[0] and utterance.started and not self._paused:
                self._rate = utterance.rate
                self._fading = _fade(utterance, min(fade_ms, FRAME_MS))
            self._report(utterance, PlayStatus.CUT)
            self._settle(utterance)
        self._queue = deque(utterance for utterance in self._queue if utterance not in doomed)
        self._paused = self._paused and bool(self._queue)

    def _settle(self, utterance: Utterance) -> None:
        """What is left to do about an utterance that leaves the queue."""
        if not utterance.last:
            self._refuse(utterance.identifier)
        for name in utterance.marks_left():
            self._tell(PlayState(utterance.identifier, PlayStatus.MARK, mark=name))

    def _refuse(self, utterance_id: str) -> None:
        self._refused[utterance_id] = None
        while len(self._refused) > _MAX_REFUSED:
            del self._refused[next(iter(self._refused))]

    def _find(self, utterance_id: str) -> Utterance | None:
        for utterance in self._queue:
            if utterance.identifier == utterance_id and not utterance.last:
                return utterance
        return None

    def _report(self, utterance: Utterance, status: PlayStatus) -> None:
        self._tell(
            PlayState(utterance.identifier, status, utterance.played_ms, utterance.queued_ms)
        )

    def _tell(self, event: PlayState) -> None:
        self._events.append(event)


def _fade(utterance: Utterance, fade_ms: int) -> bytes:
    """The next `fade_ms` of an utterance, brought down to nothing in a straight line."""
    pcm = utterance.take(utterance.frame_bytes * fade_ms // FRAME_MS & ~1)
    samples = np.frombuffer(pcm, "<i2")
    slope = np.linspace(1.0, 0.0, len(samples), dtype=np.float32)
    return (samples * slope).astype("<i2").tobytes()
