"""The simulation of autoscaling: no call is lost or doubled, and the HPA behaves as Kubernetes'."""

from __future__ import annotations

import pytest

from bench.scaling import Cell, Plan, Result
from bench.scaling_days import calls_of, diurnal, flash_crowd
from bench.scaling_plot import plot
from bench.scaling_policies import CPU, KEDA, OURS, POLICIES, Autoscaler, Policy

PEAK = 60.0
SMALL = Plan(max_calls=10, most=12)


def a_day(policy: Policy, seed: int = 3, plan: Plan = SMALL) -> tuple[Cell, Result]:
    cell = Cell(plan, policy, calls_of(flash_crowd(PEAK), seed), seed)
    return cell, cell.run()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_call_is_refused_or_ends_or_is_still_there(policy: Policy, seed: int) -> None:
    cell, result = a_day(policy, seed)
    assert result.arrived == result.refused + result.ended + result.left
    assert result.left == sum(len(pod.calls) for pod in cell.pods)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_call_is_on_one_pod_and_no_pod_is_over_full(policy: Policy) -> None:
    cell, _ = a_day(policy)
    numbers = [number for pod in cell.pods for number in pod.calls]
    assert len(numbers) == len(set(numbers))
    assert all(len(pod.calls) <= SMALL.max_calls for pod in cell.pods)


def test_the_same_seed_gives_the_same_day() -> None:
    assert a_day(OURS)[1] == a_day(OURS)[1]


def test_all_policies_meet_the_same_calls() -> None:
    assert len({a_day(policy)[1].arrived for policy in POLICIES}) == 1


def test_what_moves_its_calls_ends_sooner_than_what_waits_for_them() -> None:
    assert a_day(OURS)[1].longest_drain_s < a_day(KEDA)[1].longest_drain_s / 10


def test_enough_pods_at_all_times_refuse_nobody() -> None:
    assert a_day(CPU, plan=Plan(max_calls=10, least=12, most=12))[1].refused == 0


def test_calls_come_as_often_as_the_day_says() -> None:
    day = diurnal(PEAK)
    expected = sum(day.rate(at) * 60.0 for at in range(0, 86400, 60))
    assert len(calls_of(day, 1)) == pytest.approx(expected, rel=0.03)


def test_within_its_tolerance_the_hpa_changes_nothing() -> None:
    assert Autoscaler(KEDA, 10.0, 1, 50).decide(0.0, 109.0, 10) == 10


def test_up_it_doubles_at_most_within_its_period() -> None:
    hpa = Autoscaler(KEDA, 10.0, 1, 50)
    assert hpa.decide(0.0, 500.0, 10) == 20
    assert hpa.decide(10.0, 500.0, 20) == 20
    assert hpa.decide(15.0, 500.0, 20) == 40


def test_down_it_waits_five_quiet_minutes() -> None:
    hpa = Autoscaler(KEDA, 10.0, 1, 50)
    hpa.decide(0.0, 100.0, 10)
    assert hpa.decide(299.0, 10.0, 10) == 10
    assert hpa.decide(301.0, 10.0, 10) == 1


def test_our_chart_takes_one_a_minute() -> None:
    hpa = Autoscaler(OURS, 10.0, 1, 50)
    hpa.decide(0.0, 10.0, 10)
    assert [hpa.decide(at, 10.0, 9) for at in (301.0, 330.0, 361.0)] == [8, 9, 8]


def test_the_plot_names_every_policy_and_day() -> None:
    _, result = a_day(OURS)
    result.day = "flash crowd"
    drawn = plot([result], 15.0)
    assert "flash crowd" in drawn
    assert f"{result.refused:,} refused" in drawn
