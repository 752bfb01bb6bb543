from __future__ import annotations

from voicefork_sdk.acks import Acks


def test_an_ack_is_due_after_the_interval_of_audio() -> None:
    acks = Acks(300)
    acks.took(280)
    assert not acks.is_due
    acks.took(20)
    assert acks.is_due


def test_what_was_acknowledged_is_not_said_again() -> None:
    acks = Acks(300)
    assert acks.acknowledge(7)
    assert not acks.acknowledge(7)


def test_a_new_stream_is_acknowledged_afresh() -> None:
    acks = Acks(300)
    acks.acknowledge(700)
    acks.restart()
    assert acks.acknowledge(1)
