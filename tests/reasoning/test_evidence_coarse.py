"""Coarse metrics: what a service's callees explain of its time and its failures."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.tables import CallCount, RequestCount, WindowCounts, call_table, request_table
from reasoning.evidence.coarse import CoarseShares, coarse_shares, coin_sums, worth_of
from reasoning.evidence.likelihood import coin
from reasoning.evidence.shadows import less_shadows
from schema.batches import Float64
from schema.identity import EntityRef

FRONT, BACK, OTHER = (EntityRef("service", "", "", name) for name in ("front", "back", "other"))
PLACES = {FRONT: 0, BACK: 1, OTHER: 2}
SECOND = 1_000_000_000


def shares(served: dict[EntityRef, tuple[int, float, int]], usual: dict[EntityRef, float], calls: dict[EntityRef, int]) -> CoarseShares:
    """served: requests, seconds each, failures. front makes `calls` to others."""
    counts = WindowCounts()
    for ref, (requests, seconds, failed) in served.items():
        count = RequestCount(errors=failed, own_errors=failed, detailed=False)
        count.summed_requests, count.summed_duration = requests, round(requests * seconds * SECOND)
        counts.requests[ref] = count
    for ref, number in calls.items():
        counts.calls[FRONT, "calls", ref] = CallCount(calls=number, traced=False)
    table = call_table(counts, PLACES.__getitem__)
    known = np.array([usual.get(ref, np.nan) for ref in PLACES])
    return coarse_shares(request_table(counts, PLACES.__getitem__), table, np.ones(len(table.source), np.bool_), known)


def test_what_a_slow_callee_explains_is_not_the_callers_own() -> None:
    found = shares({FRONT: (100, 0.30, 0), BACK: (100, 0.25, 0)}, {FRONT: 0.10, BACK: 0.05}, {BACK: 100})
    assert found.mean[0] == pytest.approx(0.30)
    assert found.own_mean[0] == pytest.approx(0.10)
    assert found.own_mean[1] == pytest.approx(0.25)
    assert found.answered[0] == pytest.approx(25.0)


def test_a_callee_explains_as_much_as_its_excess_and_no_more() -> None:
    half = shares({FRONT: (100, 0.30, 0), BACK: (100, 0.15, 0)}, {FRONT: 0.10, BACK: 0.05}, {BACK: 100})
    assert half.own_mean[0] == pytest.approx(0.20)
    seldom = shares({FRONT: (100, 0.30, 0), BACK: (10, 0.25, 0)}, {FRONT: 0.10, BACK: 0.05}, {BACK: 10})
    assert seldom.own_mean[0] == pytest.approx(0.28)


def test_a_callee_that_is_slower_than_the_caller_is_does_not_make_the_caller_fast() -> None:
    found = shares({FRONT: (100, 0.12, 0), BACK: (100, 0.50, 0)}, {FRONT: 0.10, BACK: 0.05}, {BACK: 100})
    assert found.own_mean[0] == pytest.approx(0.10)


def test_without_a_usual_level_nothing_is_excess() -> None:
    found = shares({FRONT: (100, 0.30, 0), BACK: (100, 0.25, 0)}, {}, {BACK: 100})
    assert found.own_mean[0] == pytest.approx(0.30)


def test_failures_of_callees_are_taken_off_the_callers_own() -> None:
    found = shares({FRONT: (100, 0.1, 40), BACK: (50, 0.1, 25), OTHER: (50, 0.1, 0)}, {}, {BACK: 50, OTHER: 50})
    assert found.own_errors[0] == pytest.approx(15.0)
    assert found.failed.tolist() == pytest.approx([25.0, 0.0])


def test_a_callee_that_sends_no_metrics_explains_nothing() -> None:
    found = shares({FRONT: (100, 0.30, 10)}, {FRONT: 0.10}, {BACK: 100})
    assert found.own_mean[0] == pytest.approx(0.30)
    assert found.own_errors[0] == pytest.approx(10.0)


def judged(ratio: list[float], excess: list[float], calls: list[tuple[int, int]]) -> Float64:
    return less_shadows(np.arange(1, 1 + len(ratio)), np.array(ratio), np.array(excess), calls)


def test_the_callee_with_a_part_of_the_excess_is_doubted_and_the_one_with_all_of_it_is_not() -> None:
    found = judged([4.0, 5.0], [20.0, 4.0], [(0, 1), (0, 2)])
    assert found[0] == 4.0
    assert found[1] < 2.0


def test_without_a_common_caller_nothing_casts_a_shadow() -> None:
    assert judged([4.0, 5.0], [20.0, 4.0], [(0, 1), (9, 2)]).tolist() == [4.0, 5.0]


def test_what_is_hardly_abnormal_itself_casts_hardly_a_shadow() -> None:
    surely, hardly = (judged([ratio, 5.0], [20.0, 4.0], [(0, 1), (0, 2)])[1] for ratio in (8.0, 0.1))
    assert surely < 1.5 < 2.5 < hardly < 5.0


def test_unknown_stays_unknown_and_calm_stays_calm_beside_a_culprit() -> None:
    found = judged([6.0, np.nan, -1.0], [20.0, 4.0, 4.0], [(0, 1), (0, 2), (0, 3)])
    assert np.isnan(found[1])
    assert found[2] == -1.0


def wandering(rates: list[float], requests: float) -> Float64:
    shown = requests * np.array(rates)
    return np.asarray(coin_sums(shown, np.full(shown.size, requests)).sum(axis=0, keepdims=True))


def test_a_rate_that_wanders_is_worth_less_than_one_that_stays() -> None:
    steady, wild = wandering([0.02] * 20, 1000.0), wandering([0.0, 0.04] * 10, 1000.0)
    assert worth_of(steady, 100.0)[0] > 300.0
    assert worth_of(wild, 100.0)[0] < 100.0


def test_the_worth_is_that_of_the_beta_the_rates_were_drawn_from() -> None:
    rates = np.random.default_rng(4).beta(2.0, 58.0, 400)
    shown = np.random.default_rng(5).binomial(2000, rates).astype(np.float64)
    found = worth_of(coin_sums(shown, np.full(400, 2000.0)).sum(axis=0, keepdims=True), 100.0)
    assert found[0] == pytest.approx(60.0, rel=0.25)


def test_without_a_past_the_worth_is_the_usual_one() -> None:
    assert worth_of(np.zeros((1, 4)), 100.0)[0] == pytest.approx(100.0)


def test_a_few_percent_of_failures_speak_where_hardly_any_were_before() -> None:
    worth = worth_of(wandering([0.0] * 15 + [0.001], 900.0), 100.0)[0]
    assert coin(20.0, 900.0, 0.9, 14400.0, float(worth)) > 2.0 > coin(20.0, 900.0, 0.9, 14400.0, 100.0)
