"""A call's audio in every form its AIs asked for: one CallAudio for each, fed by the same sockets.

The main one has the form that was proposed; its tracks are what the sockets fill. Another is made
when an AI chooses another form, and gets a copy of what came before each tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from siprec_worker.media.call_audio import CallAudio, TickOutput
from siprec_worker.media.carried import Carried, Reached, Tie
from siprec_worker.media.model import AudioFormat, GapCause, TrackStats
from siprec_worker.media.payload_table import Payloads
from siprec_worker.media.track import Track
from siprec_worker.session.withholding import Withholding


class Form(NamedTuple):
    """How an AI gets its audio."""

    uplink: AudioFormat
    chunk_ms: int = 20


class _Feed:
    """One form of the call's audio."""

    __slots__ = ("audio", "tracks", "withholding")

    def __init__(self, audio: CallAudio) -> None:
        self.audio = audio
        self.tracks: dict[int, Track] = {}
        self.withholding: Withholding | None = None


class Feeds:
    """As one CallAudio to whoever adds tracks and asks for counts."""

    __slots__ = ("_holes", "_main", "_make", "_others", "_payloads", "_withheld", "form")

    def __init__(self, form: Form, make: Callable[[Form], CallAudio]) -> None:
        """`make` gives a CallAudio that begins when the call began."""
        self.form = form
        self._make = make
        self._main = _Feed(make(form))
        self._others: dict[Form, _Feed] = {}
        self._payloads: dict[int, Payloads] = {}
        self._holes: dict[int, GapCause | None] = {}
        self._withheld: GapCause | None = None

    # --- tracks -----------------------------------------------------------------------------

    def add_track(self, handle: int, payloads: Payloads) -> Track:
        """A new leg; the track that is given is the one to be filled."""
        self._payloads[handle] = payloads
        for feed in self._all():
            feed.tracks[handle] = feed.audio.add_track(handle, payloads)
        return self._main.tracks[handle]

    def update_track(self, handle: int, payloads: Payloads) -> None:
        self._payloads[handle] = payloads
        for feed in self._all():
            feed.audio.update_track(handle, payloads)

    def carry_on(self, handle: int, carried: Carried) -> None:
        """The leg was another worker's; before its first packet."""
        for feed in self._all():
            feed.audio.carry_on(handle, carried)

    def leave(self, leaving: bool) -> None:
        """Another worker is about to hear the legs: what is not heard here is no hole."""
        for feed in self._all():
            feed.audio.leave(leaving)

    def tie(self, handle: int) -> Tie | None:
        """Where the leg's next packet belongs, as another worker has to know."""
        return self._main.audio.tie(handle)

    def reached(self, handle: int) -> Reached | None:
        """How far the leg was heard here, once it brings nothing more."""
        return self._main.audio.reached(handle)

    def remove_track(self, handle: int) -> None:
        self._payloads.pop(handle, None)
        self._holes.pop(handle, None)
        for feed in self._all():
            feed.audio.remove_track(handle)
            del feed.tracks[handle]

    def expect_silence(self, handle: int, cause: GapCause | None) -> None:
        self._holes[handle] = cause
        for feed in self._all():
            feed.audio.expect_silence(handle, cause)

    # --- who gets what ----------------------------------------------------------------------

    def want(self, wishes: Mapping[Form, Iterable[int]]) -> None:
        """The legs that each form is made of; a form that nobody wishes for is made no more."""
        self._main.audio.want(wishes.get(self.form, ()))
        for form in self._others.keys() - wishes.keys():
            del self._others[form]
        for form, handles in wishes.items():
            if form != self.form:
                if form not in self._others:
                    self._others[form] = self._another(form)
                self._others[form].audio.want(handles)

    def _another(self, form: Form) -> _Feed:
        feed = _Feed(self._make(form))
        for handle, payloads in self._payloads.items():
            feed.tracks[handle] = feed.audio.add_track(handle, payloads)
            feed.audio.expect_silence(handle, self._holes.get(handle))
        if self._withheld is not None:
            feed.withholding = Withholding(form.chunk_ms)
            feed.withholding.begin(self._withheld)
        return feed

    def withhold(self, cause: GapCause | None, now: float) -> None:
        """Lets no audio and no keys through from now on; None: lets them through again."""
        self._withheld = cause
        for form, feed in ((self.form, self._main), *self._others.items()):
            if cause is not None:
                feed.withholding = feed.withholding or Withholding(form.chunk_ms)
                feed.withholding.begin(cause)
            elif feed.withholding is not None:
                feed.withholding.end(self.position(now))

    # --- the tick ---------------------------------------------------------------------------

    @property
    def others(self) -> bool:
        """Some AI has another form than the main one."""
        return bool(self._others)

    def tick(self, now: float) -> list[TickOutput]:
        """What is due of the main form. `tick_others` has to follow while there are `others`."""
        main = self._main
        if self._others:
            for feed in self._others.values():
                for handle, track in feed.tracks.items():
                    track.inbox.extend(main.tracks[handle].inbox)
        return main.audio.tick(now) if main.withholding is None else self._due(main, now)

    def tick_others(self, now: float) -> list[tuple[Form, list[TickOutput]]]:
        """What is due of each of the other forms."""
        return [(form, self._due(feed, now)) for form, feed in self._others.items()]

    def _due(self, feed: _Feed, now: float) -> list[TickOutput]:
        items = feed.audio.tick(now)
        withholding = feed.withholding
        if withholding is not None:
            items = withholding.filter(items, self.position(now))
            if withholding.idle:
                feed.withholding = None
        return items

    # --- as a CallAudio ---------------------------------------------------------------------

    def position(self, now: float) -> int:
        return self._main.audio.position(now)

    def stats(self) -> dict[int, TrackStats]:
        return self._main.audio.stats()

    def heard_at(self) -> float | None:
        return self._main.audio.heard_at()

    def _all(self) -> tuple[_Feed, ...]:
        return (self._main, *self._others.values())
