"""What coarse metrics leave unsaid: sums of a service's time and failures, and who calls whom how often, but not who waits for whom.

Excess flows up synchronous calls nearly unchanged (docs/reasoning/evidence.md), so what the callees' excess explains is not the
caller's own. Callees are taken to have served each caller alike: metrics do not say which of them waited.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasoning.network import Bool
from schema.batches import Float64
from schema.windows import CallTable, RequestTable

SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class CoarseShares:
    """By entity, Float64[size]: `mean`, seconds a request (nan where unknown); `own_mean`, without the callees' excess; `own_errors`.

    By call, Float64[c]: `answered`, seconds the callee served the caller for; `failed`, failed requests of the caller that it explains.
    """

    mean: Float64
    own_mean: Float64
    own_errors: Float64
    answered: Float64
    failed: Float64


def coarse_shares(requests: RequestTable, calls: CallTable, waits: Bool, usual: Float64) -> CoarseShares:
    """waits: bool[c], calls that are waited for and that no span shows. usual: Float64[size], usual seconds a request, nan where unknown."""
    size, entity = usual.size, requests.entity
    served, time, failed = np.zeros(size), np.zeros(size), np.zeros(size)
    served[entity], time[entity], failed[entity] = requests.requests, requests.duration / SECONDS, requests.errors
    known = served > 0
    mean = np.divide(time, served, out=np.full(size, np.nan), where=known)
    failing = np.divide(failed, served, out=np.zeros(size), where=known)
    source, target = calls.source[waits], calls.target[waits]
    number = calls.calls[waits].astype(np.float64)
    excess = np.nan_to_num(np.maximum(mean - usual, 0.0))
    explained = np.bincount(source, number * excess[target], size)
    own_time = np.maximum(time - np.minimum(explained, served * excess), 0.0)
    answered, blamed = np.zeros(len(calls.source)), np.zeros(len(calls.source))
    answered[waits] = np.nan_to_num(number * mean[target])
    blamed[waits] = np.minimum(number * failing[target], failed[source])
    return CoarseShares(
        mean=mean,
        own_mean=np.divide(own_time, served, out=np.full(size, np.nan), where=known),
        own_errors=np.maximum(failed - np.bincount(source, blamed[waits], size), 0.0),
        answered=answered,
        failed=blamed,
    )


COIN_WIDTH = 4
"""Columns of a coarse coin's observation: shown, trials, shown^2 / trials, 1."""
SHRUNK_BY = 4.0  # windows that the usual worth counts for


def coin_sums(shown: Float64, trials: Float64) -> Float64:
    """Observations of coarse coins, Float64[n, COIN_WIDTH]."""
    return np.column_stack([shown, trials, np.divide(shown**2, trials, out=np.zeros(trials.size), where=trials > 0), np.ones(trials.size)])


def worth_of(baseline: Float64, usual: float) -> Float64:
    """How many trials a baseline counts for, Float64[r], by how its rate wandered from window to window (Float64[r, COIN_WIDTH]), shrunk to `usual`."""
    shown, trials, squares, windows = baseline.T
    rate = (shown + 0.5) / (trials + 1.0)
    scatter = squares - np.divide(shown**2, trials, out=np.zeros(trials.size), where=trials > 0)
    wander = np.maximum(scatter / (rate * (1.0 - rate)) - windows, 0.0) / np.maximum(trials - windows, 1.0)
    return np.asarray((windows + SHRUNK_BY) / (windows * wander + SHRUNK_BY / usual))
