"""Card data: nothing passes, and every millisecond of it is told as a gap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.call_audio import TickOutput
from siprec_worker.media.model import AudioChunk, Dtmf, Gap, GapCause, LegAudio
from siprec_worker.session.withholding import Withholding

AUDIO = b"\1" * 160


def chunk(slot: int, *legs: int) -> AudioChunk:
    return AudioChunk(slot * 160, tuple(LegAudio(leg, AUDIO) for leg in legs or (1,)))


def withheld(cause: GapCause = GapCause.REDACTED) -> Withholding:
    filtering = Withholding(20)
    filtering.begin(cause)
    return filtering


def test_audio_and_keys_become_a_gap() -> None:
    filtering = withheld()
    out: list[TickOutput] = []
    for slot in range(10):
        out += filtering.filter([chunk(slot), Dtmf(1, "4", 100, slot * 160)], slot * 160)
    filtering.end(1600)
    out += filtering.filter([chunk(10)], 1600)
    assert out == [Gap(1, 0, 1600, GapCause.REDACTED), chunk(10)]


def test_what_was_spoken_before_the_end_stays_withheld_when_it_comes_late() -> None:
    filtering = withheld()
    filtering.filter([chunk(0)], 0)
    filtering.end(480)
    assert filtering.filter([chunk(1), chunk(2), Dtmf(1, "4", 100, 470)], 500) == []
    assert filtering.filter([chunk(3)], 660) == [Gap(1, 0, 480, GapCause.REDACTED), chunk(3)]


def test_a_long_gap_is_told_while_it_lasts() -> None:
    filtering = withheld(GapCause.PAUSED)
    gaps = [g for slot in range(120) for g in filtering.filter([chunk(slot)], slot * 160)]
    assert gaps == [Gap(1, n * 8000, (n + 1) * 8000, GapCause.PAUSED) for n in range(2)]


def test_a_gap_that_was_there_is_part_of_the_withheld_one() -> None:
    filtering = withheld()
    filtering.filter([chunk(0), Gap(1, 160, 320, GapCause.NETWORK_LOSS, 1), chunk(2)], 320)
    filtering.end(480)
    assert filtering.filter([chunk(3)], 480)[0] == Gap(1, 0, 480, GapCause.REDACTED)


def test_each_leg_has_its_own_gap() -> None:
    filtering = withheld()
    filtering.filter([chunk(0, 1, 2), chunk(1, 2)], 160)
    filtering.end(320)
    out = filtering.filter([chunk(2, 1, 2)], 320)
    assert out[:2] == [Gap(1, 0, 160, GapCause.REDACTED), Gap(2, 0, 320, GapCause.REDACTED)]


def test_a_leg_that_brings_nothing_more_is_told_all_the_same() -> None:
    filtering = withheld()
    filtering.filter([chunk(0)], 0)
    filtering.end(160)
    assert filtering.filter([], 8000) == []
    assert filtering.filter([], 9000) == [Gap(1, 0, 160, GapCause.REDACTED)]
    assert filtering.idle


@given(st.lists(st.tuples(st.sampled_from(["chunk", "begin", "end"]), st.integers(0, 3))))
def test_every_sample_passes_or_is_told_once(actions: list[tuple[str, int]]) -> None:
    filtering = Withholding(20)
    slot, on = 0, False
    told: list[tuple[int, int]] = []
    for action, late in actions:
        match action:
            case "begin":
                filtering.begin(GapCause.REDACTED)
                on = True
            case "end":
                filtering.end((slot + late) * 160)
                on = False
            case _:
                for item in filtering.filter([chunk(slot)], slot * 160):
                    assert not (on and isinstance(item, AudioChunk))
                    told.append(
                        (item.from_pts, item.to_pts)
                        if isinstance(item, Gap)
                        else (item.pts, item.pts + 160)
                    )
                slot += 1
    filtering.end(slot * 160)
    for item in filtering.filter([], slot * 160 + 100_000):
        assert isinstance(item, Gap)
        told.append((item.from_pts, item.to_pts))
    assert [start for start, _ in told[1:]] == [end for _, end in told[:-1]]
    assert (told[-1][1] if told else 0) == slot * 160
