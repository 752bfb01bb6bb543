"""How a call meets its bot, and what becomes of it when the bot fails: a pure state machine.

    start -> Seeking --fork--> Connecting --attached--> Expecting --bot speaks--> Talking
                |                  |                        | ^ (bot ready, caller      | ^
                |                  |                        | |  unanswered: Answering) | |
                | 2 s              | 5 s, failure           | 5 s                       v |
                +------------------+------------> Leaving <-+--failure-- Talking       Lent
                                                    |                      |       (to a handoff)
      Adrift (fork or worker lost, music plays) ----+ <---- fork lost -----+
                                                    |                      | bot hangs up
                                                    v                      v
                                                  Closed <------------- Parting

The caller hears music (or ringing) in every state but Talking, Lent and Parting. A handoff may take
an answered caller before the bot's first words, too. A caller who hangs up closes the call from
anywhere. `step` reads no clock: `deadline_of` says when
DeadlinePassed is due.
"""

from __future__ import annotations

from dataclasses import replace

from orchestrator.config import Answer, Waiting
from orchestrator.fleet import effects as do
from orchestrator.fleet import events as on
from orchestrator.fleet.call import EnteredCall, ForkHalf
from orchestrator.fleet.effects import Effect, Outcome, Party
from orchestrator.fleet.lent import WORKER_LOST, lend, lent
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
)
from orchestrator.fleet.waiting import party_waiting, stop_waiting, wait_audibly
from orchestrator.fleet.ways_out import (
    QUEUE_ATTEMPTS,
    QUEUE_RETRY_SECONDS,
    Step,
    close,
    leave,
    leave_if,
    part,
)

FORK_END_GRACE_SECONDS = 0.3
"""A caller's BYE reaches the worker and Asterisk at the same time: a fork that ends is not yet a
fork that is lost."""


def start(call: EnteredCall, policy: EntryPolicy, now: float) -> Step:
    """The caller has just entered: something to hear at once, then the worker."""
    answered = call.answered or policy.answer is Answer.FIRST
    answering: tuple[Effect, ...] = ()
    if answered and not call.answered:
        answering = (do.AnswerCaller(),)
    # Music first, as the bridge adds nothing to hear; a tone needs the bridge first (ari.pbx).
    hearing: tuple[Effect, ...] = (
        (do.StartMusic(), do.OpenBridge())
        if policy.waiting is Waiting.MUSIC
        else (do.OpenBridge(), do.StartRinging(answered))
    )
    if call.minted:
        # Nobody forked this call under an id that we have just made up.
        music: tuple[Effect, ...] = () if call.answered else (do.AnswerCaller(),)
        leaving = Leaving("no call id", 1, now + 10 * QUEUE_RETRY_SECONDS)
        return leaving, (*music, do.StartMusic(), do.GoToQueue())
    state = Seeking(answered, now + policy.rendezvous_seconds)
    return state, (do.SeekFork(), *answering, *hearing)


def step(state: State, event: on.Event, policy: EntryPolicy, now: float) -> Step:
    """The one table of what follows from what."""
    match state, event:
        # --- whatever the state: the caller is gone -----------------------------------------
        case Closed(), _:
            return state, ()
        case Leaving(why), on.CallerLeft():
            return close(state, Outcome.QUEUED, why)
        case _, on.CallerHungUp():
            return close(state, Outcome.HUNG_UP, "caller hung up")
        case _, on.CallerLeft():
            return close(state, Outcome.LEFT, "left the application")

        # --- on the way to the queue: nothing else counts any more --------------------------
        case Leaving(why, attempts), on.QueueRefused(refusal):
            if attempts >= QUEUE_ATTEMPTS:
                return close(state, Outcome.STRANDED, f"{why}; {refusal}")
            return replace(state, deadline=now + QUEUE_RETRY_SECONDS), ()
        case Leaving(why, attempts), on.DeadlinePassed():
            if attempts >= QUEUE_ATTEMPTS:
                return close(state, Outcome.STRANDED, why)
            retry = Leaving(why, attempts + 1, now + 10 * QUEUE_RETRY_SECONDS)
            return retry, (do.StartMusic(), do.GoToQueue())
        case Leaving(), _:
            return state, ()

        # --- the bot has said goodbye: whatever ends it ends it -----------------------------
        case Parting(), (
            on.DeadlinePassed() | on.ForkEnded() | on.BotFailed() | on.WorkerLost()
            | on.PbxFailed() | on.TalkbackLost() | on.BotHangsUp() | on.SendToQueue()
        ):  # fmt: skip
            return close(state, Outcome.BOT_HUNG_UP, "bot hung up")
        case Parting(), _:
            return state, ()

        # --- a handoff has the caller -------------------------------------------------------
        case Lent(), _:
            return lent(state, event, policy, now)

        # --- asked for a human, or the PBX fails us -----------------------------------------
        case _, on.SendToQueue(why):
            return leave(state, why, policy, now)
        case _, on.PbxFailed(why):
            return leave(state, why, policy, now)

        case Seeking() | Connecting() | Expecting() | Answering(), _:
            return _meeting(state, event, policy, now)
        case _:
            return _conversing(state, event, policy, now)


def _meeting(
    state: Seeking | Connecting | Expecting | Answering,
    event: on.Event,
    policy: EntryPolicy,
    now: float,
) -> Step:
    """Until the bot's first words: music or ringing is heard."""
    match state, event:
        case Seeking(answered), on.ForkArrived(fork):
            speaks_by = now + policy.bot_speaks_seconds
            return Connecting(answered, fork, speaks_by), (do.OpenTalkback(fork),)
        case ((Connecting() | Expecting()), on.ForkArrived(fork)) if fork != state.fork:
            speaks_by = now + policy.bot_speaks_seconds
            return Connecting(state.answered, fork, speaks_by), (do.OpenTalkback(fork),)

        case Connecting(answered, fork), on.TalkbackReady(worker, address):
            if worker != fork.worker_id:
                return state, ()
            return state, (do.Attach(fork, address, answered),)
        case Connecting(answered, fork, deadline, spoke), on.Attached(worker):
            if worker != fork.worker_id:
                return state, ()
            if spoke:
                return _speak(answered, fork, policy, now)
            if state.ready and not answered:
                return Answering(fork, deadline, spoke=False), (do.AnswerCaller(tell=True),)
            return Expecting(answered, fork, deadline), (do.TellParty(fork, party_waiting(policy)),)
        case Connecting(_, fork), on.TalkbackFailed(worker, why) if worker == fork.worker_id:
            return leave(state, f"talk-back: {why}", policy, now)
        case Connecting(_, fork), on.AttachFailed(worker, why) if worker == fork.worker_id:
            return leave(state, f"attach: {why}", policy, now)
        case Connecting(), on.BotSpoke():
            return replace(state, spoke=True), ()
        case Expecting(answered, fork), on.BotSpoke():
            return _speak(answered, fork, policy, now)
        case Connecting(), on.BotReady():
            return replace(state, ready=True), ()
        case Expecting(False, fork, deadline), on.BotReady():
            return Answering(fork, deadline, spoke=False), (do.AnswerCaller(tell=True),)
        case Answering(fork, deadline, False), on.BotSpoke():
            return Answering(fork, deadline), ()
        case Answering(fork, deadline, False), on.Answered():
            # It begins to speak when it is told; until then the caller hears what he heard.
            telling = (do.TellAnswered(fork), do.TellParty(fork, party_waiting(policy)))
            return Expecting(True, fork, deadline), (wait_audibly(policy), *telling)
        case Answering(fork), on.Answered():
            effects = (do.TellAnswered(fork), do.TellParty(fork, Party.BOT))
            return Talking(fork), (*stop_waiting(policy, answered=False), *effects)
        case ((Connecting() | Expecting()), on.TalkbackLost()):
            return replace(state), (do.OpenTalkback(state.fork),)

        case ((Seeking(True) | Connecting(True) | Expecting(True)), on.HandoffTook()):
            return lend(state), ()
        case _, on.DeadlinePassed():
            late = "no fork" if isinstance(state, Seeking) else "the bot did not speak"
            return leave(state, late, policy, now)
        case _, on.BotFailed(why):
            return leave(state, f"bot failed: {why}", policy, now)
        case ((Connecting() | Expecting() | Answering()), on.ForkEnded(worker, why)):
            # The deadline stays: another worker may have the call before it.
            return leave_if(state.fork.worker_id == worker, state, f"fork: {why}", policy, now)
        case ((Connecting() | Expecting() | Answering()), on.WorkerLost(worker)):
            return leave_if(state.fork.worker_id == worker, state, WORKER_LOST, policy, now)
        case _, on.BotHangsUp(after):
            return part(state, after, now)
        case _:
            return state, ()


def _conversing(state: State, event: on.Event, policy: EntryPolicy, now: float) -> Step:
    """Bot and caller talk, or the bot was just lost."""
    match state, event:
        case Talking(fork), on.BotHangsUp(after):
            return part(Talking(fork), after, now)
        case ((Talking() | Adrift()), on.HandoffTook()):
            return lend(state), ()
        case Talking(), on.BotSendsDtmf(digits, length_ms):
            return state, (do.SendDtmf(digits, length_ms),)
        case Talking(old), on.ForkArrived(fork) if fork != old:
            return Talking(fork), (do.OpenTalkback(fork),)
        case Talking(fork), on.TalkbackLost():
            return state, (do.OpenTalkback(fork),)
        case Talking(fork), on.TalkbackReady(worker, address) if fork.worker_id == worker:
            return state, (do.Attach(fork, address, answered=True),)
        case Talking(fork), on.AttachFailed(worker, why) if fork.worker_id == worker:
            return leave(state, f"attach: {why}", policy, now)
        case Talking(fork), on.TalkbackFailed(worker, why) if fork.worker_id == worker:
            return leave(state, f"talk-back: {why}", policy, now)
        case Talking(), on.BotFailed(why):
            return leave(state, f"bot failed: {why}", policy, now)
        case Talking(fork), on.ForkEnded(worker, why) if fork.worker_id == worker:
            adrift = Adrift(fork, f"fork: {why}", now + FORK_END_GRACE_SECONDS, may_return=False)
            return adrift, (do.StartMusic(),)
        case Talking(fork), on.WorkerLost(worker) if fork.worker_id == worker:
            adrift = Adrift(fork, WORKER_LOST, now + policy.adoption_seconds, may_return=True)
            return adrift, (do.StartMusic(),)

        case Adrift(fork, _, _, True), on.WorkerBack(worker) if fork.worker_id == worker:
            return Talking(fork), (do.StopMusic(), do.TellParty(fork, Party.BOT))
        case Adrift(old, why), on.ForkArrived(fork) if fork != old:
            # The conversation goes on where it was; music plays until the new worker has a voice.
            adopted = Adrift(fork, why, now + policy.adoption_seconds, may_return=False)
            return adopted, (do.OpenTalkback(fork),)
        case Adrift(fork), on.TalkbackReady(worker, address) if fork.worker_id == worker:
            return state, (do.Attach(fork, address, answered=True),)
        case Adrift(fork), on.Attached(worker) if fork.worker_id == worker:
            return Talking(fork), (do.StopMusic(), do.TellParty(fork, Party.BOT))
        case Adrift(fork), (on.TalkbackFailed(worker, why) | on.AttachFailed(worker, why)) if (
            fork.worker_id == worker
        ):
            return leave(state, why, policy, now)
        case Adrift(_, why), (on.DeadlinePassed() | on.BotFailed() | on.BotHangsUp()):
            return leave(state, why, policy, now)
        case _:
            return state, ()


def _speak(answered: bool, fork: ForkHalf, policy: EntryPolicy, now: float) -> Step:
    """The bot's first words: the waiting ends, after the answer where there was none yet."""
    if not answered:
        return Answering(fork, now + policy.bot_speaks_seconds), (do.AnswerCaller(tell=True),)
    return Talking(fork), (*stop_waiting(policy, answered=True), do.TellParty(fork, Party.BOT))
