"""Exact marginals against the sum over all worlds and against pgmpy."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.elimination import marginals, plan_elimination, plan_factors
from reasoning.elimination_order import elimination_order
from reasoning.errors import InconsistentEvidenceError
from reasoning.network import CausalNetwork, causal_network
from schema.batches import Float64
from tests.reasoning.networks import enumerated, links_of, problems


def solved(network: CausalNetwork, log_evidence: Float64) -> tuple[Float64, float]:
    plan = plan_elimination(network.parent_ptr, network.parent, 16, 1 << 20)
    assert plan is not None
    log_odds, log_normaliser = marginals(plan, network.leak, network.parent_ptr, network.strength, log_evidence)
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds))), log_normaliser


@given(problems())
def test_marginals_are_those_of_the_sum_over_all_worlds(problem: tuple[CausalNetwork, Float64]) -> None:
    found, log_normaliser = solved(*problem)
    wanted, log_likelihood = enumerated(*problem)
    np.testing.assert_allclose(found, wanted, atol=1e-10)
    assert log_normaliser == pytest.approx(log_likelihood, abs=1e-9)


@given(problems(most=6), st.data())
def test_certain_evidence_is_the_limit_of_strong_evidence(problem: tuple[CausalNetwork, Float64], data: st.DataObject) -> None:
    network, evidence = problem
    seen = data.draw(st.integers(0, len(network) - 1))
    holds = data.draw(st.booleans())
    evidence[seen] = 50.0 if holds else -50.0
    wanted, _ = enumerated(network, evidence)
    evidence[seen] = np.inf if holds else -np.inf
    found, _ = solved(network, evidence)
    assert found[seen] == float(holds)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@pytest.mark.parametrize("strength", [300.0, 700.0, 1e6])
def test_evidence_beyond_the_range_of_doubles_stays_finite(strength: float) -> None:
    network = causal_network(np.array([1e-4, 1e-4, 0.0, 0.0, 0.01]), [(0, 2, 0.9), (1, 2, 0.3), (0, 3, 0.5), (2, 4, 0.9), (3, 4, 0.9), (1, 4, 0.5)])
    evidence = np.array([0.0, 0.0, strength, -strength, strength])
    found, _ = solved(network, evidence)
    wanted, _ = enumerated(network, np.clip(evidence, -200.0, 200.0))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_large_family_does_not_join_its_causes() -> None:
    causes = 60
    network = causal_network(np.append(np.full(causes, 0.01), 0.001), [(cause, causes, 0.5) for cause in range(causes)])
    plan = plan_elimination(network.parent_ptr, network.parent, 2, 1 << 12)
    assert plan is not None
    assert plan.size.max() <= 3
    found, _ = solved(network, np.append(np.zeros(causes), 4.0))
    np.testing.assert_allclose(found[:causes], found[0])


def test_what_is_too_wide_has_no_plan() -> None:
    grid = [(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (0, 3), (3, 6), (1, 4), (4, 7), (2, 5), (5, 8)]
    assert plan_factors(9, grid, 3, 1 << 12) is not None
    assert plan_factors(9, grid, 2, 1 << 12) is None
    assert plan_factors(9, grid, 3, 60) is None


@given(st.integers(1, 14), st.data())
def test_the_order_is_that_of_fewest_new_edges(variables: int, data: st.DataObject) -> None:
    scopes = [[v] for v in range(variables)]
    scopes += data.draw(st.lists(st.lists(st.integers(0, variables - 1), min_size=2, max_size=4, unique=True), max_size=24)) if variables > 1 else []
    scope_ptr, scope = np.cumsum([0, *map(len, scopes)], dtype=np.int64), np.array([v for scope in scopes for v in scope], np.int64)
    order, cluster_ptr, cluster = elimination_order(variables, scope_ptr, scope, variables, 1 << 40)
    wanted = _min_fill(variables, scopes)
    assert [(v, *sorted(rest, key=order.tolist().index)) for v, rest in wanted] == [
        tuple(cluster[first:last].tolist()) for first, last in pairwise(cluster_ptr)
    ]
    widest = max(len(rest) for _, rest in wanted)
    assert elimination_order(variables, scope_ptr, scope, widest, 1 << 40)[0].size == variables
    assert not widest or elimination_order(variables, scope_ptr, scope, widest - 1, 1 << 40)[0].size == 0


def _min_fill(variables: int, scopes: list[list[int]]) -> list[tuple[int, set[int]]]:
    """Each variable in turn with its neighbours at the time, all looked at anew for every step."""
    near: dict[int, set[int]] = {v: {u for scope in scopes if v in scope for u in scope} - {v} for v in range(variables)}
    order = []
    while near:
        v = min(near, key=lambda v: (sum(b not in near[a] for a in near[v] for b in near[v] if a < b), len(near[v]), v))
        around = near.pop(v)
        order.append((v, around))
        for u in around:
            near[u] = (near[u] | around) - {u, v}
    return order


def test_evidence_no_world_agrees_with_names_its_variables() -> None:
    network = causal_network(np.array([0.0, 0.0]), [(0, 1, 0.5)])
    with pytest.raises(InconsistentEvidenceError) as trouble:
        solved(network, np.array([0.0, np.inf]))
    assert trouble.value.variables == [1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_marginals_are_those_of_pgmpy(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 9
    links = [(i, j, random.uniform(0.05, 0.95)) for j in range(count) for i in range(j) if random.random() < 0.3]
    network = causal_network(random.uniform(0.001, 0.3, count), links)
    evidence = np.where(random.random(count) < 0.5, random.uniform(-5.0, 5.0, count), 0.0)
    np.testing.assert_allclose(solved(network, evidence)[0], _by_pgmpy(network, evidence), atol=1e-9)


def _by_pgmpy(network: CausalNetwork, log_evidence: Float64) -> Float64:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pgmpy.factors.discrete import TabularCPD  # noqa: PLC0415 - its import warns
        from pgmpy.inference import VariableElimination  # noqa: PLC0415

        from tests.reasoning.oracle import pgmpy_network  # noqa: PLC0415

        model = pgmpy_network(len(network), network.leak, links_of(network))
        seen = [TabularCPD(str(v), 2, [[1.0 / (1.0 + np.exp(e))], [1.0 / (1.0 + np.exp(-e))]]) for v, e in enumerate(log_evidence) if e != 0.0]
        inference = VariableElimination(model)
        return np.array([inference.query([str(v)], virtual_evidence=seen or None, show_progress=False).values[1] for v in range(len(network))])
