"""Places of the dialplan: what the nodes say of them, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from orchestrator.app.dialplan import AMI, ARI, Dialplan, Exists
from orchestrator.errors import SetupError
from orchestrator.model import DialplanEntry
from orchestrator.telemetry import Metrics

QUEUE, MAIL = DialplanEntry("queues", "support"), DialplanEntry("mail", "2000")


def answering(*answers: bool | None) -> Exists:
    async def exists(entries: Sequence[DialplanEntry]) -> Sequence[bool | None]:
        assert len(entries) == len(answers)
        return answers

    return exists


@pytest.fixture
def dialplan() -> Dialplan:
    return Dialplan(lambda: [QUEUE, MAIL, QUEUE], Metrics())


async def test_all_places_there_is_all_well(dialplan: Dialplan) -> None:
    await dialplan.look("main", ARI, answering(True, True))
    await dialplan.verify()
    assert dialplan.has("main", QUEUE)
    assert dialplan.has("main", MAIL)


async def test_a_missing_place_is_an_error_at_the_start(dialplan: Dialplan) -> None:
    await dialplan.look("main", ARI, answering(True, False))
    with pytest.raises(SetupError, match="main: the dialplan lacks 2000@mail"):
        await dialplan.verify()
    assert not dialplan.has("main", MAIL)


async def test_a_missing_place_of_another_node_counts_as_far_as_it_is_known(
    dialplan: Dialplan,
) -> None:
    await dialplan.look("old", AMI, answering(False, True))
    await dialplan.look("main", ARI, answering(True, True))
    with pytest.raises(SetupError, match="old: the dialplan lacks support@queues"):
        await dialplan.verify()


async def test_what_cannot_be_asked_is_no_error_and_not_known(dialplan: Dialplan) -> None:
    await dialplan.look("main", ARI, answering(None, None))
    await dialplan.verify()
    assert not dialplan.has("main", QUEUE)


async def test_a_place_nobody_has_asked_for_is_not_known(dialplan: Dialplan) -> None:
    await dialplan.look("main", ARI, answering(True, True))
    assert not dialplan.has("main", DialplanEntry("queues", "fraud"))
    assert not dialplan.has("other", QUEUE)


async def test_a_node_that_was_repaired_is_known_to_be(dialplan: Dialplan) -> None:
    await dialplan.look("main", ARI, answering(True, False))
    await dialplan.look("main", ARI, answering(True, True))
    await dialplan.verify()


async def test_one_means_is_enough_to_know_a_place(dialplan: Dialplan) -> None:
    await dialplan.look("main", AMI, answering(True, None))
    await dialplan.look("main", ARI, answering(None, True))
    assert dialplan.has("main", QUEUE)
    assert dialplan.has("main", MAIL)


async def test_a_node_may_need_a_place_that_others_do_not(dialplan: Dialplan) -> None:
    over = DialplanEntry("over", "s")
    await dialplan.look("main", ARI, answering(True, True))
    await dialplan.look("old", AMI, answering(True, True, False), (over,))
    with pytest.raises(SetupError, match="old: the dialplan lacks s@over"):
        await dialplan.verify()
