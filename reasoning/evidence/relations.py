"""Live relation attributes: which share of the caller's excess each callee accounts for, from sums along calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp

import numpy as np
from numpy.typing import NDArray

from reasoning.evidence.streams import FADE, MEMORY, SECOND
from schema.relations import RELATION_KINDS

LOOK = 60 * SECOND
CALLS, DURATION, EXCESS_TIME, CARRYING, REQUESTS, FAILED_SOURCE, SOURCE_TIME, SOURCE_ERRORS = range(8)
LEAST_REQUESTS = 5.0


@dataclass(slots=True)
class RelationStream:
    """Sums along one relation: Float64[8] in the order above, seconds for times. EXCESS_TIME: the time the target is to answer for."""

    recent: deque[tuple[int, NDArray[np.float64]]] = field(default_factory=deque)
    baseline: NDArray[np.float64] = field(default_factory=lambda: np.zeros(8))

    def observe(self, at: int, sums: NDArray[np.float64], weight: float) -> None:
        """Adds a window; what leaves the last minutes teaches the baseline with `weight`."""
        self.recent.append((at, sums))
        while self.recent and self.recent[0][0] <= at - MEMORY:
            self.baseline = self.baseline * exp(-5 * SECOND / FADE) + weight * self.recent.popleft()[1]

    def live(self, now: int, relation: str) -> dict[str, float]:
        """The live attributes that are known now."""
        sums = np.sum([row for at, row in self.recent if at > now - LOOK], axis=0) if self.recent else np.zeros(8)
        known = {"synchronous": float(RELATION_KINDS[relation].synchronous)}
        if not isinstance(sums, np.ndarray) or sums[REQUESTS] < LEAST_REQUESTS:
            return known
        requests = sums[REQUESTS]
        known["share_of_requests"] = _share(sums[CARRYING] / requests)
        known["calls_per_request"] = float(sums[CALLS] / requests)
        if sums[SOURCE_TIME] > 0:
            known["share_of_time"] = _share(sums[DURATION] / sums[SOURCE_TIME])
        if self.baseline[REQUESTS] < 2 * LEAST_REQUESTS:
            return known
        usual = self.baseline / self.baseline[REQUESTS]
        caller_excess = sums[SOURCE_TIME] - usual[SOURCE_TIME] * requests
        if caller_excess > 0.15 * usual[SOURCE_TIME] * requests:
            known["share_of_latency_excess"] = _share((sums[EXCESS_TIME] - usual[EXCESS_TIME] * requests) / caller_excess)
        failures = sums[SOURCE_ERRORS] - usual[SOURCE_ERRORS] * requests
        if failures > max(2.0, 0.01 * requests):
            known["share_of_error_excess"] = _share((sums[FAILED_SOURCE] - usual[FAILED_SOURCE] * requests) / failures)
        return known


def _share(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))
