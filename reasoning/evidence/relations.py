"""Live relation attributes: which share of the caller's excess each callee accounts for, from sums along calls."""

from __future__ import annotations

import numpy as np

from reasoning.evidence.streams import CAPACITY, SECOND, StreamTable
from schema.batches import Float64, Int64
from schema.relations import RELATION_KINDS

LOOK = 60 * SECOND
WIDTH = 10
CALLS, ANSWERED, CARRYING, REQUESTS, FAILED_SOURCE, SOURCE_TIME, SOURCE_ERRORS, WAITED, TARGET_CALLS, ERRORS = range(WIDTH)
"""Columns of a relation's observation. Times in seconds; ANSWERED: the time the target is to answer for; TARGET_CALLS: all calls the target got."""
LEAST_REQUESTS = 5.0
MATERIAL_EXCESS = 0.1
LEAST_FAILURES = 2.0
SURELY_SEEN = 20.0  # calls to be expected; that none of them was is a matter of 2e-9, sampled or not


def live_attributes(table: StreamTable, row: int, now: int, relation: str) -> dict[str, float]:
    """The live attributes of a relation that are known now (schema.knowledge.STRENGTH_VARIABLES)."""
    known = {"synchronous": float(RELATION_KINDS[relation].synchronous)}
    sums, usual = _recent(table, row, now), table.arrays.baseline[row]
    requests = sums[REQUESTS]
    if requests < LEAST_REQUESTS:
        return known
    known["share_of_requests"] = _share(sums[CARRYING] / requests)
    known["calls_per_request"] = float(sums[CALLS] / requests)
    known["share_of_callee_load"] = _share(sums[CALLS] / max(sums[TARGET_CALLS], 1.0))
    if sums[SOURCE_TIME] > 0:
        known["share_of_time"] = _share(sums[WAITED] / sums[SOURCE_TIME])
    if usual[REQUESTS] < 2 * LEAST_REQUESTS:
        return known
    known["failed_calls_growth"] = _share(sums[ERRORS] / max(sums[CALLS], 1.0) - usual[ERRORS] / max(usual[CALLS], 1.0))
    expected = usual * (requests / usual[REQUESTS])
    excess = sums[SOURCE_TIME] - expected[SOURCE_TIME]
    if excess > MATERIAL_EXCESS * expected[SOURCE_TIME]:
        known["latency_growth"] = float(excess / max(expected[SOURCE_TIME], 1e-9))
        known["share_of_latency_excess"] = _share((sums[ANSWERED] - expected[ANSWERED]) / excess)
    failures = sums[SOURCE_ERRORS] - expected[SOURCE_ERRORS]
    if failures > max(LEAST_FAILURES, 0.01 * requests):
        known["share_of_error_excess"] = _share((sums[FAILED_SOURCE] - expected[FAILED_SOURCE]) / failures)
    return known


def last_calls(table: StreamTable) -> Int64:
    """When the last call went over each relation that is known, by row."""
    a, rows = table.arrays, np.arange(len(table.keys))
    return np.asarray(a.at[rows, (a.first[rows] + a.held[rows] - 1) % CAPACITY])


def should_have_carried(table: StreamTable, row: int, last: int, served: StreamTable, own: int) -> float:
    """How many calls a relation should have carried after its last: by what it used to, and what its source served in recent minutes."""
    usual = table.arrays.baseline[row]
    if usual[REQUESTS] < 2 * LEAST_REQUESTS:
        return 0.0
    a = served.arrays
    slots = (a.first[own] + np.arange(a.held[own])) % CAPACITY
    return float(a.sums[own, slots[a.at[own, slots] > last], 0].sum() * usual[CALLS] / usual[REQUESTS])


def _recent(table: StreamTable, row: int, now: int) -> Float64:
    """Sums over the last LOOK, at least over the newest observation."""
    a = table.arrays
    slots = (a.first[row] + np.arange(a.held[row])) % CAPACITY
    chosen = slots[a.at[row, slots] > now - LOOK]
    return np.asarray(a.sums[row, chosen if chosen.size else slots[-1:]].sum(axis=0))


def _share(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))
