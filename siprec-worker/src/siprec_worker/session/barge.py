"""What the caller's speech does to what the bot says, by each utterance's own rule."""

from __future__ import annotations

from siprec_worker.media.playout import Playout
from siprec_worker.session.model import Barge, BargeVerdict

FADE_MS = 10


def barge_in(playout: Playout) -> None:
    """The caller has begun to speak. A phrase that a freeze has spared is played on."""
    if playout.playing is None or playout.frozen:
        return
    match playout.playing:
        case (_, Barge.AUTO_CLEAR):
            playout.clear(playout.queued_with(Barge.AUTO_CLEAR), FADE_MS)
        case (_, Barge.PAUSE_AND_ASK):
            playout.pause()


def judge(playout: Playout, verdict: BargeVerdict) -> None:
    """The AI's word on it, in time or late."""
    if verdict.interrupt:
        playout.clear((verdict.utterance_id,))
    playout.resume()
