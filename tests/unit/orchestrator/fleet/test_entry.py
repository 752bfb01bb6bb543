"""The entry machine: every way a call can meet, keep and lose its bot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.config import Answer, Waiting
from orchestrator.fleet import effects as do
from orchestrator.fleet import events as on
from orchestrator.fleet.call import EnteredCall, ForkHalf, RtpAddress, Tenant
from orchestrator.fleet.effects import Effect, Farewell, Outcome, Party
from orchestrator.fleet.entry import start, step
from orchestrator.fleet.states import (
    Adrift,
    Answering,
    Closed,
    Connecting,
    EntryPolicy,
    Expecting,
    Leaving,
    Lent,
    Parting,
    Seeking,
    State,
    Talking,
    deadline_of,
)
from orchestrator.fleet.ways_out import QUEUE_ATTEMPTS
from orchestrator.model import CallId

CALL = EnteredCall(CallId("c1"), Tenant("default"), "channel-1", "ulaw")
FORK = ForkHalf("w1", "127.0.0.1:9", RtpAddress("127.0.0.1", 4000))
OTHER = replace(FORK, worker_id="w2", control="127.0.0.1:8")
HERE = RtpAddress("127.0.0.1", 5000)
USUAL = EntryPolicy()
READY = on.TalkbackReady("w1", HERE)


@dataclass
class Entry:
    """Drives the machine and remembers what it wanted."""

    policy: EntryPolicy = USUAL
    call: EnteredCall = CALL
    now: float = 100.0
    wanted: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state, effects = start(self.call, self.policy, self.now)
        self.wanted += effects

    def tell(self, *events: on.Event) -> tuple[Effect, ...]:
        """Feeds events; returns what the last one caused."""
        effects: tuple[Effect, ...] = ()
        for event in events:
            self.state, effects = step(self.state, event, self.policy, self.now)
            self.wanted += effects
        return effects

    def wait(self) -> tuple[Effect, ...]:
        """Lets the state's own deadline pass."""
        due = deadline_of(self.state)
        assert due is not None
        self.now = due
        return self.tell(on.DeadlinePassed())

    def talk(self) -> Entry:
        self.tell(on.ForkArrived(FORK), READY, on.Attached("w1"), on.BotSpoke())
        assert self.state == Talking(FORK)
        return self


EARLY = EntryPolicy(answer=Answer.ON_BOT)
RINGING = EntryPolicy(waiting=Waiting.RINGING)


def goes_to_queue(effects: tuple[Effect, ...]) -> bool:
    return do.GoToQueue() in effects


# --- the usual way ----------------------------------------------------------------------------


def test_the_caller_is_answered_and_hears_music_before_anything_else() -> None:
    assert Entry().wanted == [do.SeekFork(), do.AnswerCaller(), do.StartMusic(), do.OpenBridge()]


def test_a_call_answered_by_the_dialplan_is_not_answered_again() -> None:
    assert do.AnswerCaller() not in Entry(call=replace(CALL, answered=True)).wanted


def test_ringing_after_an_answer_needs_the_bridge_first() -> None:
    wanted = Entry(RINGING).wanted
    assert wanted[-2:] == [do.OpenBridge(), do.StartRinging(answered=True)]


def test_early_media_leaves_the_answer_for_later() -> None:
    assert Entry(EARLY).wanted == [do.SeekFork(), do.StartMusic(), do.OpenBridge()]


def test_a_fork_gets_a_talk_back() -> None:
    assert Entry().tell(on.ForkArrived(FORK)) == (do.OpenTalkback(FORK),)


def test_a_talk_back_is_told_to_the_worker() -> None:
    entry = Entry()
    entry.tell(on.ForkArrived(FORK))
    assert entry.tell(READY) == (do.Attach(FORK, HERE, answered=True),)


def test_the_bots_first_words_end_the_music() -> None:
    entry = Entry()
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"))
    assert entry.tell(on.BotSpoke()) == (do.StopMusic(), do.TellParty(FORK, Party.BOT))
    assert entry.state == Talking(FORK)


def test_first_words_that_overtake_the_attachment_are_not_lost() -> None:
    entry = Entry()
    entry.tell(on.ForkArrived(FORK), READY, on.BotSpoke(), on.Attached("w1"))
    assert entry.state == Talking(FORK)


def test_an_early_call_is_answered_when_the_bot_is_about_to_speak() -> None:
    entry = Entry(EARLY)
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"))
    assert entry.tell(on.BotSpoke()) == (do.AnswerCaller(tell=True),)
    told = (do.StopMusic(), do.TellAnswered(FORK), do.TellParty(FORK, Party.BOT))
    assert entry.tell(on.Answered()) == told
    assert entry.state == Talking(FORK)


def test_an_early_call_is_answered_when_the_bot_is_ready_and_the_music_goes_on() -> None:
    entry = Entry(EARLY)
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"))
    assert entry.tell(on.BotReady()) == (do.AnswerCaller(tell=True),)
    told = (do.StartMusic(), do.TellAnswered(FORK), do.TellParty(FORK, Party.MUSIC))
    assert entry.tell(on.Answered()) == told
    assert entry.tell(on.BotSpoke()) == (do.StopMusic(), do.TellParty(FORK, Party.BOT))
    assert entry.state == Talking(FORK)


def test_a_bot_that_is_ready_before_the_attachment_is_known_is_not_forgotten() -> None:
    entry = Entry(EARLY)
    entry.tell(on.ForkArrived(FORK), READY, on.BotReady())
    assert entry.tell(on.Attached("w1")) == (do.AnswerCaller(tell=True),)


def test_a_bot_that_speaks_while_the_caller_is_answered_needs_no_more_music() -> None:
    entry = Entry(EARLY)
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"), on.BotReady(), on.BotSpoke())
    told = (do.StopMusic(), do.TellAnswered(FORK), do.TellParty(FORK, Party.BOT))
    assert entry.tell(on.Answered()) == told


def test_an_answered_call_does_not_wait_for_the_bot_to_be_ready() -> None:
    entry = Entry()
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"))
    assert entry.tell(on.BotReady()) == ()


def test_an_early_call_is_attached_as_early() -> None:
    entry = Entry(EARLY)
    entry.tell(on.ForkArrived(FORK))
    assert entry.tell(READY) == (do.Attach(FORK, HERE, answered=False),)


# --- ways to the queue --------------------------------------------------------------------------


def test_no_fork_within_the_deadline_means_the_queue_and_the_music_plays_on() -> None:
    entry = Entry()
    effects = entry.wait()
    assert entry.now == 102.0
    assert goes_to_queue(effects)
    assert do.StartMusic() not in effects


def test_a_slow_bot_loses_the_caller_to_the_queue() -> None:
    entry = Entry()
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"))
    effects = entry.wait()
    assert entry.now == 105.0
    assert goes_to_queue(effects)
    assert do.Detach(FORK, Farewell.LEFT_BOT) in effects


def test_an_early_call_is_answered_on_its_way_to_the_queue() -> None:
    effects = Entry(EARLY).wait()
    assert effects[:3] == (do.AnswerCaller(), do.StartMusic(), do.GoToQueue())


def test_ringing_becomes_music_on_the_way_to_the_queue() -> None:
    effects = Entry(RINGING).wait()
    assert effects[:3] == (do.StopRinging(answered=True), do.StartMusic(), do.GoToQueue())


@pytest.mark.parametrize(
    "failure",
    [
        on.BotFailed("x"),
        on.PbxFailed("x"),
        on.AttachFailed("w1", "x"),
        on.TalkbackFailed("w1", "x"),
        on.SendToQueue("x"),
    ],
)
def test_a_failure_in_conversation_means_music_and_the_queue(failure: on.Event) -> None:
    effects = Entry().talk().tell(failure)
    assert effects[:2] == (do.StartMusic(), do.GoToQueue())
    assert effects[2:] == (
        do.Detach(FORK, Farewell.LEFT_BOT),
        do.CloseTalkback(),
        do.CloseBridge(),
        do.LeaveRendezvous(),
    )


def test_a_call_without_an_id_goes_straight_to_the_queue() -> None:
    entry = Entry(call=replace(CALL, minted=True))
    assert entry.wanted == [do.AnswerCaller(), do.StartMusic(), do.GoToQueue()]


def test_a_queue_that_refuses_is_tried_again_and_again_until_music_is_all_there_is() -> None:
    entry = Entry()
    entry.wait()
    for _ in range(QUEUE_ATTEMPTS - 1):
        entry.tell(on.QueueRefused("x"))
        assert goes_to_queue(entry.wait())
    entry.tell(on.QueueRefused("x"))
    assert isinstance(entry.state, Closed)
    assert entry.state.outcome is Outcome.STRANDED
    assert do.HangUpCaller() not in entry.wanted


def test_a_caller_who_reaches_the_queue_is_reported_as_queued() -> None:
    entry = Entry()
    entry.wait()
    entry.tell(on.CallerLeft())
    assert entry.state == Closed(Outcome.QUEUED, "no fork")


# --- the fork comes and goes ----------------------------------------------------------------------


def test_a_fork_that_ends_gives_the_callers_own_hang_up_a_moment() -> None:
    entry = Entry().talk()
    assert entry.tell(on.ForkEnded("w1", "bye")) == (do.StartMusic(),)
    entry.tell(on.CallerHungUp())
    assert entry.state == Closed(Outcome.HUNG_UP, "caller hung up")


def test_a_fork_that_ends_while_the_caller_stays_means_the_queue() -> None:
    entry = Entry().talk()
    entry.tell(on.ForkEnded("w1", "rtp silence"))
    assert goes_to_queue(entry.wait())
    assert entry.now == pytest.approx(100.3)


def test_a_lost_worker_means_music_until_another_has_a_voice() -> None:
    entry = Entry().talk()
    assert entry.tell(on.WorkerLost("w1")) == (do.StartMusic(),)
    assert entry.tell(on.ForkArrived(OTHER)) == (do.OpenTalkback(OTHER),)
    attach = do.Attach(OTHER, HERE, answered=True)
    assert entry.tell(on.TalkbackReady("w2", HERE)) == (attach,)
    assert do.StopMusic() in entry.tell(on.Attached("w2"))
    assert entry.state == Talking(OTHER)


def test_a_worker_that_is_heard_of_again_goes_on() -> None:
    entry = Entry().talk()
    entry.tell(on.WorkerLost("w1"))
    assert do.StopMusic() in entry.tell(on.WorkerBack("w1"))
    assert entry.state == Talking(FORK)


def test_a_lost_worker_that_nobody_replaces_means_the_queue() -> None:
    entry = Entry().talk()
    entry.tell(on.WorkerLost("w1"))
    assert goes_to_queue(entry.wait())


def test_another_workers_loss_is_no_concern() -> None:
    entry = Entry().talk()
    assert entry.tell(on.WorkerLost("w9"), on.ForkEnded("w9", "x")) == ()
    assert entry.state == Talking(FORK)


def test_a_moved_fork_gets_a_talk_back_of_its_own_without_music() -> None:
    entry = Entry().talk()
    assert entry.tell(on.ForkArrived(OTHER)) == (do.OpenTalkback(OTHER),)
    attach = do.Attach(OTHER, HERE, answered=True)
    assert entry.tell(on.TalkbackReady("w2", HERE)) == (attach,)


def test_the_talk_back_of_a_worker_that_lost_the_call_is_not_told_to_the_next() -> None:
    entry = Entry()
    entry.tell(on.ForkArrived(FORK), on.ForkArrived(OTHER))
    assert entry.tell(READY) == ()


def test_a_lost_talk_back_leg_is_made_anew() -> None:
    assert Entry().talk().tell(on.TalkbackLost()) == (do.OpenTalkback(FORK),)


def test_the_same_fork_told_twice_changes_nothing() -> None:
    entry = Entry().talk()
    assert entry.tell(on.ForkArrived(FORK)) == ()


# --- ends ---------------------------------------------------------------------------------------


def test_the_bot_hangs_up_at_once() -> None:
    effects = Entry().talk().tell(on.BotHangsUp())
    assert effects[:2] == (do.HangUpCaller(), do.Detach(FORK, Farewell.CALL_ENDED))


def test_the_bot_hangs_up_after_a_while() -> None:
    entry = Entry().talk()
    assert entry.tell(on.BotHangsUp(1.5)) == ()
    assert do.HangUpCaller() in entry.wait()
    assert entry.now == 101.5
    assert entry.state == Closed(Outcome.BOT_HUNG_UP, "bot hung up")


def test_a_channel_that_the_pbx_took_elsewhere_leaves_the_bot() -> None:
    effects = Entry().talk().tell(on.CallerLeft())
    assert do.Detach(FORK, Farewell.LEFT_BOT) in effects
    assert do.HangUpCaller() not in effects


def test_an_unanswered_caller_who_gives_up_is_told_to_the_bot_as_such() -> None:
    entry = Entry(EARLY)
    entry.tell(on.ForkArrived(FORK), READY, on.Attached("w1"))
    assert do.Detach(FORK, Farewell.NOT_ANSWERED) in entry.tell(on.CallerHungUp())


def test_keys_of_the_bot_are_sent_in_conversation() -> None:
    assert Entry().talk().tell(on.BotSendsDtmf("12#")) == (do.SendDtmf("12#"),)


# --- handoffs -----------------------------------------------------------------------------------


def test_a_handoff_keeps_the_caller_whatever_the_bot_does() -> None:
    entry = Entry().talk()
    entry.tell(on.HandoffTook())
    assert entry.tell(on.BotFailed("x"), on.PbxFailed("x"), on.SendToQueue("x")) == ()
    assert isinstance(entry.state, Lent)


def test_a_returned_caller_talks_to_the_bot_again() -> None:
    entry = Entry().talk()
    entry.tell(on.HandoffTook(), on.HandoffReturned())
    assert entry.state == Talking(FORK)


def test_a_caller_returned_to_a_bot_that_is_gone_goes_to_the_queue() -> None:
    entry = Entry().talk()
    entry.tell(on.HandoffTook(), on.ForkEnded("w1", "x"))
    assert goes_to_queue(entry.tell(on.HandoffReturned()))


@pytest.mark.parametrize(
    "loss",
    [
        on.BotFailed("x"),
        on.WorkerLost("w1"),
        on.TalkbackLost(),
        on.TalkbackFailed("w1", "x"),
        on.AttachFailed("w1", "x"),
    ],
)
def test_a_caller_returned_to_a_bot_that_failed_meanwhile_goes_to_the_queue(loss: on.Event) -> None:
    entry = Entry().talk()
    entry.tell(on.HandoffTook(), loss)
    assert goes_to_queue(entry.tell(on.HandoffReturned()))


def test_a_worker_that_comes_back_during_a_handoff_has_the_bot_still() -> None:
    entry = Entry().talk()
    entry.tell(on.HandoffTook(), on.WorkerLost("w1"), on.WorkerBack("w1"), on.HandoffReturned())
    assert entry.state == Talking(FORK)


def test_the_same_fork_told_twice_during_a_handoff_keeps_its_talk_back() -> None:
    entry = Entry().talk()
    assert entry.tell(on.HandoffTook(), on.ForkArrived(FORK)) == ()


EXPECTING = (on.ForkArrived(FORK), READY, on.Attached("w1"))


@pytest.mark.parametrize("before", [(), EXPECTING[:1], EXPECTING], ids=["0", "1", "3"])
def test_a_bot_may_hand_over_before_its_first_words(before: tuple[on.Event, ...]) -> None:
    entry = Entry()
    entry.tell(*before, on.HandoffTook())
    assert isinstance(entry.state, Lent)
    assert deadline_of(entry.state) is None


def test_the_music_ends_before_the_first_words_that_are_the_phrase_of_a_handoff() -> None:
    entry = Entry()
    entry.tell(*EXPECTING, on.HandoffTook())
    assert do.StopMusic() in entry.tell(on.BotSpoke())
    assert entry.tell(on.BotSpoke()) == ()


def test_a_caller_returned_before_the_bots_first_words_waits_for_them_audibly() -> None:
    entry = Entry()
    effects = entry.tell(*EXPECTING, on.HandoffTook(), on.HandoffReturned())
    assert isinstance(entry.state, Expecting)
    assert do.StartMusic() in effects
    assert goes_to_queue(entry.wait())


def test_a_handoff_that_leaves_by_the_dialplan_ends_the_entry() -> None:
    entry = Entry().talk()
    entry.tell(on.HandoffTook(), on.CallerLeft())
    assert entry.state == Closed(Outcome.LEFT, "left the application")


# --- all histories --------------------------------------------------------------------------------

SAMPLES: list[on.Event] = [
    on.Answered(),
    on.PbxFailed("x"),
    READY,
    on.TalkbackReady("w2", HERE),
    on.TalkbackFailed("w1", "x"),
    on.TalkbackLost(),
    on.CallerHungUp(),
    on.CallerLeft(),
    on.QueueRefused("x"),
    on.ForkArrived(FORK),
    on.ForkArrived(OTHER),
    on.Attached("w1"),
    on.Attached("w2"),
    on.AttachFailed("w1", "x"),
    on.BotSpoke(),
    on.BotFailed("x"),
    on.ForkEnded("w1", "x"),
    on.WorkerLost("w1"),
    on.WorkerBack("w1"),
    on.BotHangsUp(),
    on.BotHangsUp(1.0),
    on.BotSendsDtmf("1"),
    on.DeadlinePassed(),
    on.HandoffTook(),
    on.HandoffReturned(),
    on.SendToQueue("x"),
]
STATES: list[State] = [
    Seeking(True, 1.0),
    Connecting(True, FORK, 1.0),
    Expecting(True, FORK, 1.0),
    Expecting(False, FORK, 1.0),
    Answering(FORK, 1.0),
    Talking(FORK),
    Lent(FORK),
    Lent(FORK, waiting=True),
    Adrift(FORK, "x", 1.0, may_return=True),
    Leaving("x", 1, 1.0),
    Parting(FORK, 1.0),
]
policies = st.builds(EntryPolicy, answer=st.sampled_from(Answer), waiting=st.sampled_from(Waiting))


@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
def test_a_hang_up_closes_from_every_state(state: State) -> None:
    after, effects = step(state, on.CallerHungUp(), EntryPolicy(), 2.0)
    assert after == Closed(Outcome.HUNG_UP, "caller hung up")
    assert do.CloseBridge() in effects or isinstance(state, Leaving)


@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
def test_no_state_outlives_its_deadline(state: State) -> None:
    if deadline_of(state) is not None:
        after, _ = step(state, on.DeadlinePassed(), EntryPolicy(), 2.0)
        assert after != state


@given(policies, st.lists(st.sampled_from(SAMPLES), max_size=30))
def test_whatever_happens_a_closed_call_has_been_cleaned_up(
    policy: EntryPolicy, history: list[on.Event]
) -> None:
    entry = Entry(policy)
    entry.tell(*history, on.CallerHungUp())
    assert isinstance(entry.state, Closed)
    assert entry.wanted.count(do.CloseBridge()) == 1
    assert entry.wanted.count(do.LeaveRendezvous()) == 1
    last_opened = max(
        (i for i, effect in enumerate(entry.wanted) if isinstance(effect, do.OpenTalkback)),
        default=-1,
    )
    assert do.CloseTalkback() in entry.wanted[last_opened + 1 :]


@given(policies, st.lists(st.sampled_from(SAMPLES), max_size=30))
def test_whatever_happens_a_caller_sent_to_the_queue_hears_music(
    policy: EntryPolicy, history: list[on.Event]
) -> None:
    entry = Entry(policy)
    entry.tell(*history)
    heard = False
    for effect in entry.wanted:
        match effect:
            case do.StartMusic():
                heard = True
            case do.StopMusic() | do.AnswerCaller():  # answering ends music in Asterisk
                heard = False
            case do.GoToQueue():
                assert heard
