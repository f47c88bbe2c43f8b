"""What would hold had something been forced, where causes form cycles: against all ways in which leaks and links can fire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cyclic_networks import CyclicProblem, all_worlds, cyclic_problems, least_fixpoint_posteriors
from reasoning.counterfactual import counterfactual
from schema.batches import Float64


def enumerated_counterfactual(problem: CyclicProblem, values: Mapping[int, bool]) -> Float64:
    """P(variable would hold | evidence on the world as it is), Float64[n]."""
    holds, weight = all_worlds(problem)
    weight = weight * np.exp(problem.log_evidence @ holds)
    return np.asarray(all_worlds(problem, values)[0] @ weight / weight.sum())


def forces(problem: CyclicProblem, seed: int) -> dict[int, bool]:
    random = np.random.default_rng(seed)
    return {int(random.integers(problem.leak.size)): bool(random.random() < 0.3)}


def test_around_a_cycle_what_is_believed_is_exact_and_what_would_be_is_sampled_within_its_standard_error() -> None:
    errors = []
    for seed, problem in enumerate(cyclic_problems(40)):
        values = forces(problem, seed)
        found = counterfactual(problem.network(), values, problem.log_evidence, np.random.default_rng(seed))
        np.testing.assert_allclose(found.before, least_fixpoint_posteriors(problem), atol=1e-9)
        assert found.standard_error is not None
        error = float(np.abs(found.after - enumerated_counterfactual(problem, values)).max())
        assert error < max(1e-9, 4.0 * found.standard_error)
        errors.append(error)
    assert np.mean(errors) < 0.005


def test_beside_a_cycle_what_would_be_is_exact() -> None:
    pair = CyclicProblem(np.array([0.1, 0.2]), np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.8, 0.5]), np.zeros(2), 0)
    shifted = replace(pair, leak=np.append(pair.leak, [0.1, 0.05]), cause=np.append(pair.cause, [2]).astype(np.int32))
    problem = replace(
        shifted, effect=np.append(pair.effect, [3]).astype(np.int32), strength=np.append(pair.strength, 0.7), log_evidence=np.array([1.0, 2.0, 0.0, 3.0])
    )
    found = counterfactual(problem.network(), {2: False}, problem.log_evidence, np.random.default_rng(1))
    assert found.exact
    np.testing.assert_allclose(found.after, enumerated_counterfactual(problem, {2: False}), atol=1e-9)


@pytest.mark.parametrize("value", [False, True])
def test_what_is_forced_reaches_over_feedback(value: bool) -> None:
    problem = CyclicProblem(np.array([0.1, 0.2]), np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.8, 0.5]), np.array([1.0, 1.0]), 0)
    found = counterfactual(problem.network(), {1: value}, problem.log_evidence, np.random.default_rng(1))
    assert (found.after[0] > found.before[0] + 0.01) == value
    assert (found.after[0] < found.before[0] - 0.01) != value
