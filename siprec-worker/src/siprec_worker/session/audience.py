"""Who listens to a call: the AIs' streams, the legs and the form each gets, and who speaks when."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from siprec_worker.media.call_audio import TickOutput
from siprec_worker.media.model import AudioChunk, Dtmf, Gap, LegAudio
from siprec_worker.media.speech import SpeechWatch
from siprec_worker.session import events as ev
from siprec_worker.session.feeds import Feeds, Form
from siprec_worker.session.model import ClockAnchor, Close, ToAgent
from siprec_worker.session.ports import AgentStream
from siprec_worker.session.uplink import in_samples_of


class _Listener:
    """One AI's stream."""

    __slots__ = ("all_legs", "form", "handles", "plain", "stream", "wanted")

    def __init__(self, stream: AgentStream, form: Form) -> None:
        self.plain = stream
        self.wanted: tuple[int, ...] = ()
        self.handles: tuple[int, ...] = ()  # the wanted ones, if it has the main form
        self.all_legs = False  # that are made in the main form
        self.use(form)

    def use(self, form: Form) -> None:
        self.form = form
        self.stream = in_samples_of(form.uplink, self.plain)


class Audience:
    """`tell` takes what was heard besides audio; it may change the audience."""

    __slots__ = (
        "_feeds", "_listeners", "_main", "_main_agents", "_speech", "_speech_form", "_tell",
        "_watched_for", "_watching",
    )  # fmt: skip

    def __init__(
        self,
        feeds: Feeds,
        watched_for: frozenset[int],
        tell: Callable[[ev.Heard, float], None],
    ) -> None:
        """`watched_for`: the AIs that are told when somebody begins and ends to speak."""
        self._feeds = feeds
        self._watched_for = watched_for
        self._tell = tell
        self._listeners: dict[int, _Listener] = {}
        self._main: tuple[_Listener, ...] = ()  # who gets audio in the main form
        self._main_agents: tuple[int, ...] | None = None  # all of them, if not everybody
        self._speech: SpeechWatch | None = None
        self._speech_form: Form | None = None
        self._watching = False  # the main form is

    def __contains__(self, agent: object) -> bool:
        return agent in self._listeners

    def add(self, agent: int, stream: AgentStream, form: Form) -> None:
        self._listeners[agent] = _Listener(stream, form)

    def use(self, agent: int, form: Form) -> None:
        """The form in which it gets its audio from now on."""
        if agent in self._listeners:
            self._listeners[agent].use(form)
            self._want()

    def listen(self, agent: int, handles: tuple[int, ...]) -> None:
        """The legs that it gets from now on."""
        if agent in self._listeners:
            self._listeners[agent].wanted = handles
        self._want()

    def send(self, agent: int, message: ToAgent) -> None:
        if agent in self._listeners:
            self._listeners[agent].stream.send(message)

    def send_anchor(self, anchor: ClockAnchor) -> None:
        """To everybody who gets audio."""
        for listener in self._listeners.values():
            if listener.wanted:
                listener.stream.send(anchor)

    def remove(self, agent: int, close: Close | None = None) -> None:
        """Lets it go, with a goodbye unless it is gone already."""
        listener = self._listeners.pop(agent, None)
        if listener is not None and close is not None:
            listener.stream.close(close)
        self._want()

    def abandon(self) -> None:
        """Lets everybody go without a goodbye: another worker goes on with the call."""
        for listener in self._listeners.values():
            listener.plain.abandon()
        self.clear()

    def outstanding(self, agent: int) -> tuple[int, int]:
        """See AgentStream.outstanding; nothing of an AI that is not there."""
        listener = self._listeners.get(agent)
        return (0, 0) if listener is None else listener.plain.outstanding

    def left(self, agent: int) -> tuple[bytes, ...]:
        """See AgentStream.left."""
        listener = self._listeners.get(agent)
        return () if listener is None else listener.plain.left()

    def clear(self) -> None:
        """At the call's end. It tells nobody more, and so holds the call no more: no cycle is left
        of it for the collector, which looks seldom."""
        self._listeners.clear()
        self._main = ()
        self._tell = _nobody

    def tick(self, now: float) -> None:
        """Passes on what the legs brought since the last tick."""
        feeds = self._feeds
        for item in feeds.tick(now):
            if isinstance(item, AudioChunk):  # 50 times a second: no `match`, no copy of the legs
                pts, legs = item
                for listener in self._main:
                    if listener.all_legs:
                        listener.stream.send_audio(pts, legs)
                    elif wanted := [leg for leg in legs if leg.handle in listener.handles]:
                        listener.stream.send_audio(pts, wanted)
                if self._watching:
                    self._watch(pts, legs, now)
            elif isinstance(item, Gap | Dtmf):
                self._tell(ev.Heard(item, self._main_agents), now)
        if self._main_agents is not None:  # some AI has another form
            for form, items in feeds.tick_others(now):
                self._pass_on(form, items, now)
        if self._speech is not None and self._speech.speaking:
            for speech in self._speech.idle(feeds.position(now)):
                self._tell(ev.Heard(speech), now)

    def _pass_on(self, form: Form, items: list[TickOutput], now: float) -> None:
        """The audio of a form that is not the main one."""
        agents = tuple(a for a, listener in self._listeners.items() if listener.form == form)
        for item in items:
            match item:
                case AudioChunk(pts, legs):
                    for agent in agents:
                        if (listener := self._listeners.get(agent)) is None:
                            continue
                        wanted = [leg for leg in legs if leg.handle in listener.wanted]
                        if wanted:
                            listener.stream.send_audio(pts, wanted)
                    if form == self._speech_form:
                        self._watch(pts, legs, now)
                case Gap() | Dtmf():
                    self._tell(ev.Heard(item, agents), now)

    def _watch(self, pts: int, legs: Sequence[LegAudio], now: float) -> None:
        if self._speech is None:
            return
        for leg in legs:
            for speech in self._speech.hear(leg.handle, pts, leg.data):
                self._tell(ev.Heard(speech), now)

    def _want(self) -> None:
        main = self._feeds.form
        wishes: dict[Form, set[int]] = {}
        for listener in self._listeners.values():
            listener.handles = listener.wanted if listener.form == main else ()
            if listener.wanted:
                wishes.setdefault(listener.form, set()).update(listener.wanted)
        self._feeds.want(wishes)
        self._main = tuple(one for one in self._listeners.values() if one.handles)
        for listener in self._main:
            listener.all_legs = set(listener.handles) == wishes[main]
        everybody = not self._feeds.others
        self._main_agents = None if everybody else tuple(
            agent for agent, one in self._listeners.items() if one.form == main
        )  # fmt: skip
        self._choose_watch()

    def _choose_watch(self) -> None:
        """Speech is looked for once, in the form of the first AI that is to be told."""
        found = [
            one.form
            for agent, one in self._listeners.items()
            if one.wanted and agent in self._watched_for
        ]
        form = found[0] if found else None
        if form != self._speech_form:
            self._speech_form = form
            self._speech = None if form is None else SpeechWatch(form.uplink)
            self._watching = form == self._feeds.form


def _nobody(event: ev.Heard, now: float) -> None:
    """Who an audience tells when the call is over."""
