"""Handoffs run end to end on fakes: what the PBX is told, and the rules of asking twice."""

from __future__ import annotations

import asyncio

import pytest
from orchestrator.errors import PbxError, Unreachable
from orchestrator.handoff.ports import Created, Known, Occupied, Record
from orchestrator.handoff.refusals import (
    ContextMoved,
    Forbidden,
    InProgress,
    RequestReused,
    TooLate,
    UnknownCall,
    UnknownHandoff,
)
from orchestrator.model import (
    BridgeId,
    CallId,
    ChannelId,
    Context,
    Escalation,
    Fallback,
    Handoff,
    HandoffId,
    Outcome,
    Pattern,
    Phase,
    SipUri,
)

from tests.builders.handoffs import ALICE, BOB
from tests.builders.running import CALL, Lab, running
from tests.builders.virtual_time import eventually
from tests.fakes.handoff_ports import FakeBus, FakeStore
from tests.fakes.telephony import Phone

RINGS_ON = Phone(answers=False)
BUSY = Phone(answers=False, sip_status=486, q850_cause=17)


def connected(handoff: Handoff) -> bool:
    return handoff.phase is Phase.CONNECTED


def held(handoff: Handoff) -> bool:
    return handoff.phase is Phase.CALLER_HELD


async def ringing(lab: Lab, handoff: Handoff) -> None:
    lab.pbx.phones[ALICE] = RINGS_ON
    await lab.until(handoff, held)


# --- a handoff ------------------------------------------------------------------------------


async def test_of_its_agents_only_the_last_one_is_a_handoffs_own() -> None:
    """Who could not be hung up while the PBX was away is hung up once it is back."""
    async with running() as lab:
        lab.pbx.phones[ALICE], lab.pbx.phones[BOB] = BUSY, RINGS_ON
        handoff = await lab.escalate()
        await lab.until(handoff, lambda change: change.target == BOB)
        assert lab.registry.owns(f"vf-{handoff.handoff_id}-agent-2")
        assert not lab.registry.owns(f"vf-{handoff.handoff_id}-agent-1")
        assert lab.registry.owns(f"vf-{handoff.handoff_id}-hold")


async def test_the_caller_ends_beside_the_agent_and_nothing_is_left_over() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        await lab.settled(handoff)
        agent = ChannelId("vf-h1-agent-1")
        assert lab.pbx.bridges == {"vf-h1-mix": {lab.place.caller, agent}}
        assert lab.pbx.up == {lab.place.caller, agent}


async def test_the_steps_are_taken_in_the_order_of_the_table() -> None:
    async with running() as lab:
        await lab.settled(await lab.escalate())
        assert [step.split()[0] for step in lab.pbx.steps[:6]] == [
            "make_holding", "hold", "dial", "make_mix", "add_agent", "move_caller",
        ]  # fmt: skip


async def test_nothing_happens_in_the_pbx_before_the_answer() -> None:
    async with running() as lab:
        await lab.escalate()
        assert lab.pbx.steps == []


async def test_the_caller_stays_with_the_bot_until_the_phrase_has_ended() -> None:
    async with running() as lab:
        handoff = await lab.escalate(say_first="u7", freeze_bot=True)
        await lab.until(handoff, lambda change: change.phase is Phase.ACCEPTED)
        assert lab.pbx.bridge_of(lab.place.caller) == lab.place.bridge
        lab.registry.phrase_ended(CALL, "another")
        lab.registry.phrase_ended(CALL, "u7")
        await lab.until(handoff, connected)
        assert "freeze u7" in lab.worker.told


async def test_the_ais_are_told_every_phase() -> None:
    async with running() as lab:
        await lab.settled(await lab.escalate())
        phases = [told for told in lab.worker.told if told.startswith("phase")]
        assert phases[-2:] == ["phase MERGING", "phase CONNECTED"]
        assert "drop HUMAN_CONNECTED" in lab.worker.told


async def test_the_timing_holds_what_the_witness_saw() -> None:
    async with running() as lab:
        final = await lab.settled(await lab.escalate())
        assert final.timing.dead_air_ms == 20
        assert final.timing.request_to_hold_ms is not None
        assert final.timing.context_lead_ms is not None


async def test_every_handoff_is_counted_once_by_its_outcome_and_measured() -> None:
    async with running() as lab:
        await lab.settled(await lab.escalate())
        assert lab.counts["ended connected attended"] == 1
        measured = {name for name in lab.counts if name.startswith("took ")}
        assert {"took hold_heard", "took dead_air", "took merge", "took escalate_ack"} <= measured


async def test_a_key_accepts() -> None:
    async with running(accept_key="1", prompt="sound:accept") as lab:
        lab.pbx.phones[ALICE] = Phone(key="1")
        await lab.until(await lab.escalate(), connected)
        assert any(step.startswith("play") for step in lab.pbx.steps)


async def test_a_busy_agent_is_followed_by_the_next() -> None:
    async with running() as lab:
        lab.pbx.phones[ALICE] = BUSY
        done = await lab.until(await lab.escalate(), connected)
        assert done.target == BOB


async def test_when_all_are_busy_the_queue_has_the_caller() -> None:
    async with running() as lab:
        lab.pbx.phones = {ALICE: BUSY, BOB: BUSY}
        done = await lab.settled(await lab.escalate(intent="dispute"))
        assert (done.outcome, done.sip_status) == (Outcome.QUEUED, 486)
        entry = lab.pbx.in_dialplan[lab.place.caller]
        assert entry is not None
        assert entry.extension == "support"
        assert lab.pbx.variables[lab.place.caller]["VOICEFORK_INTENT"] == "dispute"
        assert lab.pbx.bridges == {}


async def test_the_dialplan_pattern_leaves_the_caller_to_the_queue() -> None:
    async with running() as lab:
        done = await lab.settled(await lab.escalate(pattern=Pattern.DIALPLAN))
        assert (done.phase, done.outcome) == (Phase.QUEUED, Outcome.QUEUED)


async def test_a_caller_who_hangs_up_leaves_nothing_behind() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await ringing(lab, handoff)
        lab.pbx.caller_hangs_up(lab.place)
        done = await lab.settled(handoff)
        await asyncio.sleep(0.01)
        assert done.outcome is Outcome.CALLER_HUNG_UP
        assert (lab.pbx.up, lab.pbx.bridges) == (set(), {})


async def test_a_caller_who_is_found_gone_has_hung_up() -> None:
    async with running() as lab:
        lab.pbx.up.discard(lab.place.caller)
        done = await lab.settled(await lab.escalate())
        assert done.outcome is Outcome.CALLER_HUNG_UP


async def test_the_end_of_the_conversation_ends_both_legs() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        lab.pbx.agent_hangs_up(ChannelId("vf-h1-agent-1"))
        await lab.settled(handoff)
        await asyncio.sleep(0.01)
        assert (lab.pbx.up, lab.pbx.bridges) == (set(), {})
        assert lab.registry.in_progress(CALL) is None


@pytest.mark.parametrize("step", ["make_holding", "hold", "dial", "make_mix"])
async def test_a_pbx_that_refuses_a_step_still_takes_the_caller_to_the_queue(step: str) -> None:
    async with running(fallbacks=()) as lab:
        lab.pbx.fail(step, PbxError("POST", "/x", 500, "no"))
        done = await lab.settled(await lab.escalate())
        assert done.outcome is Outcome.QUEUED


async def test_the_queue_is_tried_again_when_the_pbx_was_away() -> None:
    async with running() as lab:
        lab.pbx.fail("continue", Unreachable("POST", "/x", 0, "away"))
        done = await lab.settled(await lab.escalate(pattern=Pattern.DIALPLAN))
        assert done.outcome is Outcome.QUEUED


async def test_clean_up_is_tried_again() -> None:
    async with running() as lab:
        lab.pbx.fail("destroy_bridge", Unreachable("DELETE", "/x", 0, "away"))
        await lab.settled(await lab.escalate())
        assert set(lab.pbx.bridges) == {"vf-h1-mix"}


# --- things that are away -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["away", "stuck"])
async def test_a_handoff_goes_on_in_memory_without_the_store(how: str) -> None:
    store = FakeStore()
    setattr(store, how, True)
    async with running(store) as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        setattr(store, how, False)
        await lab.settled(handoff)
        await eventually(lambda: store.saved and store.saved[-1].phase is Phase.CONNECTED)
        assert lab.counts["handoff_creates_unstored"] == 1
        stored = [past.revision for past in store.views[handoff.handoff_id]]
        assert stored == list(range(1, stored[-1] + 1))


async def test_another_writer_takes_the_handoff_away() -> None:
    store = FakeStore()
    async with running(store) as lab:
        handoff = await lab.escalate(say_first="u7")
        await lab.until(handoff, lambda change: change.phase is Phase.ACCEPTED)
        store.states[handoff.handoff_id] = store.states[handoff.handoff_id].replace(
            '"revision":', '"revision":9'
        )
        steps = len(lab.pbx.steps)
        lab.registry.phrase_ended(CALL, "u7")
        await eventually(lambda: lab.counts["handoff_fenced"])
        assert len(lab.pbx.steps) == steps


async def test_a_handoff_goes_on_without_the_worker() -> None:
    async with running() as lab:
        lab.worker.away = True
        await lab.until(await lab.escalate(freeze_bot=True), connected)
        assert lab.counts["handoff_worker_failed"] > 0


async def test_a_handoff_goes_on_without_the_context() -> None:
    bus = FakeBus()
    bus.away = True
    async with running(bus=bus) as lab:
        done = await lab.until(await lab.escalate(), connected)
        assert done.timing.context_lead_ms is None


# --- asking twice ---------------------------------------------------------------------------------


async def test_the_same_request_is_the_same_handoff() -> None:
    async with running() as lab:
        first = await lab.escalate()
        again = await lab.escalate()
        assert again.handoff_id == first.handoff_id


async def test_the_same_request_at_the_same_time_is_one_handoff() -> None:
    async with running() as lab:
        first, again = await asyncio.gather(lab.escalate(), lab.escalate())
        assert again.handoff_id == first.handoff_id


class SlowStore(FakeStore):
    """Has stored a handoff some time before it says so."""

    def __init__(self) -> None:
        super().__init__()
        self.stored, self.may_answer = asyncio.Event(), asyncio.Event()

    async def create(self, record: Record) -> Created | Known | Occupied:
        answer = await super().create(record)
        self.stored.set()
        await self.may_answer.wait()
        return answer


async def test_a_handoff_that_is_stored_is_begun_though_its_asker_has_gone_away() -> None:
    store = SlowStore()
    async with running(store) as lab:
        asking = asyncio.create_task(lab.escalate())
        await store.stored.wait()
        asking.cancel()
        store.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        again = await lab.escalate()
        assert again.handoff_id == "h1"
        await lab.until(again, connected)


async def test_a_request_with_another_body_is_refused() -> None:
    async with running() as lab:
        await lab.escalate()
        with pytest.raises(RequestReused):
            await lab.escalate(reason="another")


async def test_what_becomes_a_channel_variable_is_one_line() -> None:
    async with running() as lab:
        broken = "a\r\n\r\nAction: x\0"
        handoff = await lab.escalate(intent=broken, context=Context(customer_reference=broken))
        loaded = await lab.store.load(handoff.tenant, handoff.handoff_id)
        assert loaded is not None
        request = loaded[0].request
        assert (request.intent, request.customer_reference) == ("a Action: x", "a Action: x")


async def test_the_order_of_slots_is_no_other_body() -> None:
    async with running() as lab:
        first = await lab.escalate(context=Context(slots={"a": 1, "b": 2}))
        again = await lab.escalate(context=Context(slots={"b": 2, "a": 1}))
        assert again.handoff_id == first.handoff_id


async def test_a_second_handoff_of_a_call_in_progress_is_refused() -> None:
    async with running() as lab:
        await lab.escalate()
        with pytest.raises(InProgress):
            await lab.escalate("r2")


async def test_a_superseding_handoff_takes_the_caller_over_in_the_music() -> None:
    async with running() as lab:
        first = await lab.escalate()
        await ringing(lab, first)
        lab.pbx.phones[ALICE] = Phone()
        second = await lab.escalate("r2", supersede=True)
        assert (await lab.settled(first)).outcome is Outcome.SUPERSEDED
        await lab.until(second, connected)
        await lab.settled(second)
        assert set(lab.pbx.bridges) == {BridgeId("vf-h2-mix")}
        moves = [step for step in lab.pbx.steps if step.endswith(lab.place.caller)]
        assert [move.split()[0] for move in moves] == ["hold", "hold", "move_caller"]


async def test_an_accepted_agent_is_not_superseded() -> None:
    async with running() as lab:
        first = await lab.escalate()
        await lab.until(first, connected)
        with pytest.raises(InProgress):
            await lab.escalate("r2", supersede=True)


async def test_after_a_return_to_the_bot_another_handoff_may_follow() -> None:
    async with running(fallbacks=(Fallback.RETURN_TO_BOT,)) as lab:
        lab.pbx.phones[ALICE] = BUSY
        first = await lab.settled(await lab.escalate())
        assert first.outcome is Outcome.RETURNED_TO_BOT
        lab.pbx.phones[ALICE] = Phone()
        await lab.until(await lab.escalate("r2"), connected)


async def test_a_call_that_is_not_here_cannot_be_handed_over() -> None:
    async with running() as lab:
        with pytest.raises(UnknownCall):
            await lab.registry.escalate(Escalation("r1", CallId("elsewhere")))


async def test_somebody_whom_the_routes_do_not_name_is_refused() -> None:
    async with running() as lab:
        with pytest.raises(Forbidden):
            await lab.escalate(target=SipUri("sip:+900123@premium.example"))


# --- cancel and context -------------------------------------------------------------------------


async def test_a_cancelled_caller_is_with_the_bot_again() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await ringing(lab, handoff)
        await lab.registry.cancel(handoff.handoff_id)
        assert (await lab.settled(handoff)).outcome is Outcome.CANCELLED
        assert lab.pbx.bridges == {lab.place.bridge: {lab.place.caller, lab.place.bot}}


async def test_a_cancel_after_the_merge_is_too_late() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        with pytest.raises(TooLate):
            await lab.registry.cancel(handoff.handoff_id)


async def test_what_never_was_cannot_be_cancelled() -> None:
    async with running() as lab:
        with pytest.raises(UnknownHandoff):
            await lab.registry.cancel(HandoffId("h9"))


async def test_a_patch_is_published_with_the_next_revision() -> None:
    bus = FakeBus()
    async with running(bus=bus) as lab:
        handoff = await lab.escalate()
        await ringing(lab, handoff)
        patched = await lab.registry.patch_context(
            handoff.handoff_id, Context(sentiment="angry"), 1
        )
        assert patched.context_revision == 2
        await eventually(lambda: len(bus.published) > 1)
        assert bus.published[1] == (2, Context(summary="disputes a charge", sentiment="angry"))


async def test_a_patch_of_an_overtaken_revision_is_refused() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await ringing(lab, handoff)
        with pytest.raises(ContextMoved):
            await lab.registry.patch_context(handoff.handoff_id, Context(), 7)


async def test_a_follower_gets_every_revision_once() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        revisions = [change.revision async for change in lab.registry.follow(handoff.handoff_id, 0)]
        assert revisions == list(range(1, revisions[-1] + 1))


async def test_a_follower_may_begin_in_the_middle() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        later = [change.revision async for change in lab.registry.follow(handoff.handoff_id, 3)]
        assert later[0] == 4


async def test_giving_up_brings_callers_without_an_agent_to_the_queue() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await ringing(lab, handoff)
        lab.registry.give_up()
        ended = await lab.settled(handoff)
        assert (ended.phase, lab.place.caller in lab.pbx.in_dialplan) == (Phase.QUEUED, True)


async def test_giving_up_leaves_a_conversation_alone() -> None:
    async with running() as lab:
        handoff = await lab.escalate()
        await lab.until(handoff, connected)
        lab.registry.give_up()
        await lab.settled(handoff)
        assert lab.pbx.bridge_of(lab.place.caller) == BridgeId("vf-h1-mix")


async def test_an_unknown_agent_leg_is_for_its_finder_to_hang_up() -> None:
    async with running() as lab:
        assert not lab.registry.agent_answered(ChannelId("vf-h9-agent-1"))
