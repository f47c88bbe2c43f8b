"""Ratios against numerical integration, and the laws they obey."""

from __future__ import annotations

from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.evidence.likelihood import FALLS, SHIFTS, above_usual, below_usual, coin, near_limit, shifted, student

GRID = (np.arange(200_000) + 0.5) / 200_000


def by_integration(shown: int, trials: int, base_shown: float, base_trials: float) -> float:
    """P(shown of trials | any rate) over P(... | rate drawn from the baseline's posterior), both by summing over a grid of rates."""
    toss = GRID**shown * (1.0 - GRID) ** (trials - shown)
    anything = GRID**-0.5 * (1.0 - GRID) ** -0.5
    baseline = GRID ** (base_shown - 0.5) * (1.0 - GRID) ** (base_trials - base_shown - 0.5)
    return log(float(toss @ anything / anything.sum())) - log(float(toss @ baseline / baseline.sum()))


@pytest.mark.parametrize(("shown", "trials", "base_shown", "base_trials"), [(3, 10, 2, 90), (9, 10, 5, 50), (1, 40, 20, 80)])
def test_the_coin_is_a_ratio_of_two_integrals_over_rates(shown: int, trials: int, base_shown: int, base_trials: int) -> None:
    assert coin(shown, trials, base_shown, base_trials, 100.0) == pytest.approx(by_integration(shown, trials, base_shown, base_trials), abs=2e-3)


def test_a_baseline_counts_for_no_more_than_its_worth() -> None:
    assert coin(8, 20, 1_000, 100_000, 100.0) == pytest.approx(coin(8, 20, 1, 100, 100.0))


def test_a_coin_without_a_baseline_says_nothing() -> None:
    assert coin(8, 20, 0, 0, 100.0) == 0.0


def test_students_density_sums_to_one() -> None:
    points = np.linspace(-200, 200, 400_001)
    total = sum(exp(student(float(point))) for point in points[::40]) * 0.04
    assert total == pytest.approx(1.0, abs=1e-3)


@given(st.integers(2, 60), st.integers(1, 200))
def test_a_likelihood_ratio_averages_to_one_when_nothing_is_wrong(trials: int, base_shown: int) -> None:
    """The defining law: under the baseline's own distribution the expected ratio is 1, so evidence can't be made from nothing."""
    base_trials, worth = 200.0, 200.0
    a, b = base_shown + 0.5, base_trials - base_shown + 0.5
    rates = GRID[::50]
    weight = rates ** (a - 1) * (1 - rates) ** (b - 1) if base_shown < 150 else None
    if weight is None:
        return
    weight = weight / weight.sum()
    chance = [comb(trials, k) * float((rates**k * (1 - rates) ** (trials - k)) @ weight) for k in range(trials + 1)]
    expected = sum(p * exp(coin(k, trials, base_shown, base_trials, worth)) for k, p in enumerate(chance))
    assert expected == pytest.approx(1.0, abs=0.02)


def test_a_shift_is_believed_the_further_it_goes_and_doubted_at_the_usual_level() -> None:
    ratios = [shifted(deviation, 0.1, SHIFTS) for deviation in (0.0, 0.3, 0.6, 1.0, 3.0)]
    assert ratios == sorted(ratios)
    assert ratios[0] < -1.0
    assert ratios[-1] > 5.0


def test_a_fall_can_be_to_nothing_but_not_below() -> None:
    assert shifted(1.0, 0.1, FALLS) > 4.0
    assert shifted(-0.5, 0.1, FALLS) < 0.0


def test_near_a_limit_is_what_fills_it_not_what_moved() -> None:
    assert near_limit(0.97, 0.3, 0.03) > 4.0
    assert near_limit(0.17, 0.03, 0.03) < 0.0
    assert near_limit(0.9, 0.9, 0.03) < 0.0
    assert near_limit(0.2, 0.9, 0.03) <= 0.0


def test_below_and_above_look_one_way_only() -> None:
    assert below_usual(0.1, 0.85, 0.05) > 3.0
    assert below_usual(0.95, 0.85, 0.05) <= 0.0
    assert above_usual(30.0, 2.0, 5.0) > 1.0
    assert above_usual(0.0, 20.0, 5.0) < 0.0
