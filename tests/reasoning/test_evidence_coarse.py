"""Coarse metrics: what a service's callees explain of its time and its failures."""

from __future__ import annotations

import numpy as np
import pytest

from ingest.tables import CallCount, RequestCount, WindowCounts, call_table, request_table
from reasoning.evidence.coarse import CoarseShares, coarse_shares
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
