"""Random histories: whatever happens, the caller is cared for and it ends exactly once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrator.handoff import names
from orchestrator.handoff.codec import dump, load
from orchestrator.handoff.effects import (
    ClearDeadline,
    DialAgent,
    DropBot,
    Finish,
    HangUp,
    HushBriefing,
    HushPhrase,
    Notify,
    SetDeadline,
    StopPlaying,
    StopWitness,
    TearDown,
    UnfreezeBot,
)
from orchestrator.handoff.events import (
    AgentAccepted,
    AgentAnswered,
    AgentJoined,
    AgentKey,
    AgentLost,
    AgentRinging,
    AriFailed,
    BotLost,
    BriefingEnded,
    BriefingStarted,
    CallerHeld,
    CallerKey,
    CallerLeft,
    CallerMerged,
    CallerReturned,
    CancelRequested,
    ContextAcked,
    ContextFailed,
    ContextPatched,
    ContextPublished,
    Deadline,
    DeadlinePassed,
    Event,
    HoldReady,
    MixReady,
    PhraseEnded,
    QueueEntered,
    Referred,
    Requested,
    Superseded,
    WitnessEnded,
    WitnessReported,
)
from orchestrator.handoff.machine import begin, step
from orchestrator.handoff.state import Request, State
from orchestrator.model import (
    BridgeId,
    DialplanEntry,
    Fallback,
    Menu,
    Outcome,
    Pattern,
    SipUri,
    Witness,
)

from tests.builders.handoffs import ALICE, BOB, HANDOFF, agent, request
from tests.builders.pbx_model import PbxModel

AT = 101.0
CLEANUP = (
    Finish | HangUp | HushBriefing | HushPhrase | StopPlaying | TearDown | StopWitness | DropBot
    | UnfreezeBot | Notify | SetDeadline | ClearDeadline
)  # fmt: skip

OUTSIDE = SipUri("sip:desk@example.org")
MENU = Menu(
    "sound:menu",
    {"1": Fallback.NEXT_TARGET, "2": Fallback.VOICEMAIL, "3": Fallback.HOLDING_MENU},
)

requests: st.SearchStrategy[Request] = st.builds(
    request,
    pattern=st.sampled_from(
        [Pattern.ATTENDED, Pattern.WARM_WHISPER, Pattern.DIALPLAN, Pattern.REFER]
    ),
    came_back=st.sampled_from([Outcome.UNSPECIFIED, Outcome.UNSPECIFIED, Outcome.QUEUE_CLOSED]),
    voicemail=st.sampled_from([None, DialplanEntry("voicemail", "s")]),
    backup=st.sampled_from([None, SipUri("sip:centre@example.org")]),
    menu=st.sampled_from([None, MENU]),
    targets=st.sampled_from([(ALICE, BOB), (ALICE,), (OUTSIDE,), (OUTSIDE, ALICE)]),
    fallbacks=st.sampled_from(
        [
            (Fallback.NEXT_TARGET,),
            (Fallback.NEXT_TARGET, Fallback.RETURN_TO_BOT),
            (Fallback.VOICEMAIL, Fallback.RETURN_TO_BOT),
            (Fallback.NEXT_TARGET, Fallback.HOLDING_MENU, Fallback.BACKUP_CENTRE),
            (Fallback.BACKUP_CENTRE, Fallback.HOLDING_MENU, Fallback.CALLBACK),
            (),
        ]
    ),
    accept_key=st.sampled_from(["", "1"]),
    prompt=st.sampled_from(["", "sound:accept"]),
    freeze_bot=st.booleans(),
    say_first=st.sampled_from(["", "u7"]),
    phrase=st.sampled_from(["", "One moment.", "sound:moment"]),
    leftovers=st.sampled_from([(), (BridgeId("vf-h0-hold"),)]),
)
attempts = st.integers(1, 3).map(agent)
moves = st.integers(1, 4)
effect_ids = st.one_of(
    st.sampled_from([f"{HANDOFF}:make-hold", f"{HANDOFF}:make-mix"]),
    st.builds(
        "{}:{}:{}".format,
        st.just(HANDOFF),
        st.sampled_from(["move", "dial", "add"]),
        st.integers(1, 4),
    ),
)
at = st.just(AT)
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Referred, at, st.sampled_from(["SUCCESS", "FAILURE", "TIMEOUT"]), st.just(486)),
    *(
        st.builds(kind, at)
        for kind in (
            Requested, PhraseEnded, HoldReady, MixReady, AgentAccepted, ContextAcked,
            WitnessEnded, CancelRequested, Superseded, BotLost,
        )
    ),
    *(
        st.builds(kind, at, moves)
        for kind in (CallerHeld, CallerMerged, CallerReturned, QueueEntered)
    ),
    *(
        st.builds(kind, at, attempts)
        for kind in (AgentRinging, AgentAnswered, AgentJoined, BriefingStarted, BriefingEnded)
    ),
    st.builds(CallerKey, at, st.sampled_from("123")),
    *(
        st.builds(kind, at, st.integers(1, 3))
        for kind in (ContextPatched, ContextPublished, ContextFailed)
    ),
    st.builds(CallerLeft, at, st.booleans()),
    st.builds(AgentKey, at, attempts, st.sampled_from("12")),
    st.builds(AgentLost, at, attempts, st.sampled_from([0, 486]), st.sampled_from([0, 16, 17])),
    st.builds(
        WitnessReported,
        at,
        at,
        st.builds(
            Witness,
            st.sampled_from([None, 30]),
            one_way=st.booleans(),
            both_live_ms=st.sampled_from([None, 10]),
            final=st.booleans(),
        ),
    ),
    st.builds(
        AriFailed, at, effect_ids, st.sampled_from([Outcome.PBX_ERROR, Outcome.PBX_UNREACHABLE])
    ),
    st.builds(DeadlinePassed, at, st.sampled_from(Deadline)),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(requests, st.lists(events, max_size=40))
def test_any_history_ends_at_most_once_and_then_only_cleans_up(
    asked: Request, history: list[Event]
) -> None:
    state, finished = begin(asked, 100.0), 0
    for event in [Requested(100.0), *history]:
        before = state
        state, effects = step(state, event)
        finished += sum(isinstance(effect, Finish) for effect in effects)
        assert finished == state.finished
        same = replace(state, changed_at=before.changed_at) == before
        assert state.revision == before.revision + (not same)
        if before.finished:
            assert all(isinstance(effect, CLEANUP) for effect in effects)


@settings(max_examples=300, deadline=None)
@given(requests, st.lists(events, max_size=30))
def test_any_state_survives_being_stored(asked: Request, history: list[Event]) -> None:
    state = begin(asked, 100.0)
    for event in [Requested(100.0), *history]:
        state, _ = step(state, event)
    assert load(State, dump(state)) == state


@settings(max_examples=300, deadline=None)
@given(requests, st.lists(events, max_size=30))
def test_every_channel_that_is_dialled_is_talking_or_hung_up_at_the_end(
    asked: Request, history: list[Event]
) -> None:
    state, dialled, hung_up = begin(asked, 100.0), set(), set()
    for event in [Requested(100.0), *history, CallerLeft(AT)]:
        state, effects = step(state, event)
        dialled |= {effect.channel for effect in effects if isinstance(effect, DialAgent)}
        gone = {event.channel} if isinstance(event, AgentLost) else set()
        hung_up |= gone | {effect.channel for effect in effects if isinstance(effect, HangUp)}
    if state.over or state.finished:
        assert dialled <= hung_up


@settings(max_examples=500, deadline=None)
@given(requests, st.data())
def test_a_modelled_pbx_never_leaves_the_caller_in_silence(
    asked: Request, data: st.DataObject
) -> None:
    """The PBX performs, fails, or half performs what it is told; people do what they like."""
    pbx = PbxModel(asked)
    for _ in range(60):
        choices = pbx.choices()
        if not choices:
            break
        pbx.do(data.draw(st.sampled_from(choices)))
        assert pbx.caller_is_cared_for(), pbx.story()
    pbx.run_out()
    assert pbx.finishes == 1, pbx.story()
    assert pbx.caller_is_cared_for(), pbx.story()
    pbx.end_of_call()
    assert pbx.state.over, pbx.story()
    assert not pbx.agents_up, pbx.story()
    kept = {names.holding_bridge(HANDOFF)} if pbx.state.outcome is Outcome.SUPERSEDED else set()
    assert pbx.own_bridges <= kept, pbx.story()


def test_a_caller_whom_neither_music_bridge_nor_dialplan_takes_hears_music_of_their_own() -> None:
    pbx = PbxModel(request(fallbacks=(), targets=(ALICE,)))
    pbx.do("context")
    for choice in (*["perform"] * 4, f"answer:{agent()}", *["perform"] * 2, f"lose:{agent()}"):
        pbx.do(choice)
    for choice in ("perform", "fail", "fail", "perform"):  # hang-up, hold, `continue`, music
        assert pbx.caller_is_cared_for(), pbx.story()
        pbx.do(choice)
    assert pbx.hears == "music", pbx.story()
