"""Shards against one process: how far beliefs of defects differ, what they say to each other, and what it costs."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from benchmarks.estates import SERVICE, STYLES, Style, SyntheticEstate, alarm_ratio, incident, synthetic_estate
from benchmarks.measure import Figures
from reasoning.belief import BeliefState
from reasoning.core_solver import BeliefSettings
from reasoning.sharding.runner import ShardRunner
from schema.batches import Float64

ROUGH, FINE = BeliefSettings(tolerance=1e-2, influence=1e-3), BeliefSettings(tolerance=1e-3, influence=1e-4)
SHARDS = (2, 4, 8)
NETS: dict[int, tuple[tuple[Style, ...], int]] = {300: (STYLES, 5), 1_000: (STYLES, 2), 10_000: (("power_law",), 1)}  # styles, and seeds of each
PRIORS = 0.05  # an estate that is mostly healthy
WARM_UP = 60  # services
FLIPS, EDITS = 20, 3


def run() -> Figures:
    """Nets of 300, 1,000 and 10,000 services in 2, 4 and 8 shards: cold, after each of 20 flips and after each of 3 new calls."""
    figures: Figures = {}
    _compare(WARM_UP, ROUGH)
    for services in NETS:
        for name, how in (("1e-2", ROUGH), ("1e-3", FINE)):
            figures |= {f"{key}_{services}_services_at_{name}": value for key, value in _compare(services, how).items()}
    for name in ("1e-2", "1e-3"):
        errors = [value for key, value in figures.items() if key.startswith("shard_root_error_max") and key.endswith(name)]
        figures[f"shard_root_error_max_at_{name}"] = max(value for value in errors if isinstance(value, float))
    return figures


def _compare(services: int, how: BeliefSettings) -> Figures:
    """The worst error, and medians over nets and flips, by number of shards."""
    found: dict[str, list[float]] = defaultdict(list)
    unsettled: set[tuple[int, int]] = set()
    for number, (estate, evidence) in enumerate(_incidents(services)):
        start = time.process_time()
        one = BeliefState(estate.network, evidence, how)
        alone = time.process_time() - start
        many: dict[int, tuple[BeliefState, ShardRunner]] = {}
        for count in SHARDS:
            runner = ShardRunner(count, how.tolerance)
            start = time.process_time()
            state = BeliefState(estate.network, evidence, how, propagation=runner)
            found[f"shard_cpu_ratio_cold_{count}"].append((time.process_time() - start) / alone)
            found[f"shard_cut_share_{count}"].append(runner.cut_share)
            found[f"shard_messages_cold_{count}"].append(runner.messages_sent)
            many[count] = state, runner
        _differences(found, one, many, estate)
        for change in range(FLIPS + EDITS):
            _follow(found, one, many, estate, change, evidence)
            unsettled.update((number, variable) for state in (one, *(state for state, _ in many.values())) for variable in state.unsettled.tolist())
    figures: Figures = {key: float(f"{(max if 'error' in key else statistics.median)(values):.2g}") for key, values in found.items()}
    return {**figures, "shard_unsettled_variables": len(unsettled)}


def _incidents(services: int) -> Iterator[tuple[SyntheticEstate, Float64]]:
    styles, seeds = NETS.get(services, (STYLES[:1], 1))
    for style in styles:
        for seed in range(seeds):
            estate = synthetic_estate(services, seed, style=style, prior_scale=PRIORS)
            yield estate, incident(estate, 3, np.random.default_rng(seed), alarms=5)[1]


def _differences(found: dict[str, list[float]], one: BeliefState, many: dict[int, tuple[BeliefState, ShardRunner]], estate: SyntheticEstate) -> None:
    for count, (state, _) in many.items():
        difference = np.abs(one.probability - state.probability)[estate.network.is_defect]
        found[f"shard_root_error_max_{count}"].append(float(difference.max()))


def _follow(
    found: dict[str, list[float]], one: BeliefState, many: dict[int, tuple[BeliefState, ShardRunner]], estate: SyntheticEstate, change: int, evidence: Float64
) -> None:
    """One change to all states: a symptom that flips, later a new call."""
    alone = _changed(one, estate, change, evidence)
    for count, (state, runner) in many.items():
        before = runner.messages_sent
        seconds = _changed(state, estate, change, evidence)
        if change < FLIPS:
            found[f"shard_cpu_ratio_flip_{count}"].append(seconds / alone)
            found[f"shard_messages_a_flip_p50_{count}"].append(runner.messages_sent - before)
    _differences(found, one, many, estate)


def _changed(state: BeliefState, estate: SyntheticEstate, change: int, evidence: Float64) -> float:
    """CPU seconds of one change."""
    random = np.random.default_rng(change // 2 if change < FLIPS else change)
    if change < FLIPS:
        variable = random.choice(np.flatnonzero(estate.is_read), 1)
        ratio = evidence[variable] if change % 2 else alarm_ratio(estate, evidence <= 0.0)[variable]
        start = time.process_time()
        state.observe(variable, ratio)
    else:
        size, services = len(SERVICE.variables), int(np.count_nonzero(estate.network.is_defect)) // 6
        caller, callee = size * np.sort(random.choice(services, 2, replace=False))
        slow = SERVICE.place("slow")
        start = time.process_time()
        state.connect(np.array([callee + slow], np.int32), np.array([caller + slow], np.int32), np.array([0.3]))
    state.settle()
    return time.process_time() - start
