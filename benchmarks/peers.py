"""The same networks solved by others: all posteriors of defects, process CPU time, and the answers must agree."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from benchmarks.estates import incident, synthetic_estate
from benchmarks.measure import Figures, Solved, cpu_seconds, progress
from benchmarks.pgmpy_peer import pgmpy_is_installed, solve_by_pgmpy
from benchmarks.pyagrum_peer import pyagrum_is_installed, solve_by_pyagrum
from reasoning.belief import BeliefState
from reasoning.elimination import marginals, plan_elimination
from reasoning.network import CausalNetwork
from reasoning.solution import probabilities
from schema.batches import Float64

SERVICES_OF_200 = 20
SIZES = range(SERVICES_OF_200, 60, 5)  # services, ten variables each
SEEDS = (7, 8, 9)
FAULTS = 2
AGREEMENT = 1e-6


class DisagreementError(AssertionError):
    """Two exact solutions differ."""


@dataclass(frozen=True, slots=True)
class _Race:
    """CPU seconds of ours and theirs on one network, and the largest difference of a defect's posterior."""

    ours: float
    theirs: float
    difference: float


def peer_figures() -> Figures:
    """Against pgmpy's variable elimination at 200 variables, and against pyAgrum's at the largest size that it solves."""
    return {**_pgmpy(), **_pyagrum()}


def _pgmpy() -> Figures:
    keys = ("ours_200_variables_ms", "pgmpy_ve_200_variables_seconds", "speedup_vs_pgmpy_ve")
    if not pgmpy_is_installed():
        return dict.fromkeys(keys, "not measured: pgmpy is not installed")
    progress("pgmpy, 200 variables")
    network, evidence = _problem(SERVICES_OF_200, SEEDS[0])
    race = _race(network, evidence, solve_by_pgmpy(network, evidence))
    return dict(zip(keys, (round(1e3 * race.ours, 2), round(race.theirs, 2), round(race.theirs / race.ours)), strict=True))


def _pyagrum() -> Figures:
    """A size is feasible while most of its networks are solved; those solved are compared by the sum of their seconds."""
    if not pyagrum_is_installed():
        return {"speedup_vs_pyagrum_exact": "not measured: pyagrum is not installed, `make bench` installs it"}
    solved, variables, failed = [], 0, ""
    for services in SIZES:
        progress(f"pyAgrum, {services} services")
        races, problems = [], [_problem(services, seed) for seed in SEEDS]
        for network, evidence in problems:
            theirs = solve_by_pyagrum(network, evidence)
            if theirs is not None:
                races.append(_race(network, evidence, theirs))
        if 2 * len(races) <= len(SEEDS):
            failed = f"{len(SEEDS) - len(races)} of {len(SEEDS)} networks of {len(problems[0][0])} variables"
            break
        solved, variables = races, len(problems[0][0])
    own, others = sum(race.ours for race in solved), sum(race.theirs for race in solved)
    return {
        "pyagrum_largest_variables": variables,
        "pyagrum_fails_on": failed,
        "pyagrum_exact_ms": [f"{1e3 * race.theirs:.1f}" for race in solved],
        "ours_ms": [f"{1e3 * race.ours:.2f}" for race in solved],
        "ours_difference_max": float(f"{max(race.difference for race in solved):.2g}"),
        "speedup_vs_pyagrum_exact": round(others / own, 1),
        "speedup_vs_pyagrum_exact_p50": round(statistics.median(race.theirs / race.ours for race in solved), 1),
    }


def _problem(services: int, seed: int) -> tuple[CausalNetwork, Float64]:
    estate = synthetic_estate(services, seed, prior_scale=0.3)
    return estate.network, incident(estate, FAULTS, np.random.default_rng(seed))[1]


def _race(network: CausalNetwork, evidence: Float64, theirs: Solved) -> _Race:
    """Theirs is checked against our elimination of the whole network, then timed against the engine as it runs. Raises DisagreementError."""
    plan = plan_elimination(network.parent_ptr, network.parent, 25, 1 << 28)
    if plan is not None:
        exact = probabilities(marginals(plan, network.leak, network.parent_ptr, network.strength, evidence)[0])[network.is_defect]
        if (gap := float(np.abs(exact - theirs.probability).max())) > AGREEMENT:
            raise DisagreementError(f"Two exact solutions of {len(network)} variables differ by {gap:.2g}.")
    ours = BeliefState(network, evidence).probability[network.is_defect]
    return _Race(cpu_seconds(lambda: BeliefState(network, evidence)), theirs.seconds, float(np.abs(ours - theirs.probability).max()))
