"""Joint explanations: those of the sum over all worlds, in the same order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given

import reasoning.cause_sets
from reasoning.cause_sets import likeliest_sets
from reasoning.inference import posteriors
from reasoning.network import Bool, CausalNetwork, causal_network
from reasoning.solution import Posteriors
from schema.batches import Float64
from tests.reasoning.networks import problems


def solved(network: CausalNetwork, evidence: Float64) -> Posteriors:
    return posteriors(network, evidence, wanted=np.ones(len(network), np.bool_))


def roots(network: CausalNetwork) -> Bool:
    alone: Bool = np.diff(network.parent_ptr) == 0
    return alone


def by_enumeration(network: CausalNetwork, evidence: Float64) -> dict[tuple[int, ...], float]:
    """P(exactly these of the roots hold | evidence)."""
    worlds = np.array(list(itertools.product((0.0, 1.0), repeat=len(network))))
    weight = np.exp(worlds @ evidence)
    for variable in range(len(network)):
        silence = (1.0 - network.leak[variable]) * np.prod(1.0 - network.strengths(variable) * worlds[:, network.parents(variable)], axis=1)
        weight *= np.where(worlds[:, variable] == 1.0, 1.0 - silence, silence)
    causes = np.flatnonzero(roots(network))
    found: dict[tuple[int, ...], float] = {}
    for world, each in zip(worlds, weight / weight.sum(), strict=True):
        held = tuple(causes[world[causes] == 1.0].tolist())
        found[held] = found.get(held, 0.0) + float(each)
    return found


@given(problems())
def test_the_likeliest_sets_are_those_of_the_sum_over_all_worlds(problem: tuple[CausalNetwork, Float64]) -> None:
    network, evidence = problem
    found = likeliest_sets(solved(network, evidence), roots(network), 6, least=0.0)
    truth = by_enumeration(network, evidence)
    assert found.exact
    assert [mass for _, mass in found.sets] == pytest.approx(sorted(truth.values(), reverse=True)[: len(found.sets)], abs=1e-9)
    assert sum(mass for _, mass in found.sets) > 1.0 - 1e-9 or len(found.sets) == 6
    assert len(found.sets) == 6 or sum(mass for _, mass in found.sets) == pytest.approx(1.0)
    assert len({holds for holds, _ in found.sets}) == len(found.sets)
    for holds, mass in found.sets:
        assert truth[holds] == pytest.approx(mass, abs=1e-9)


def test_two_faults_far_apart_stand_together_at_the_product_of_their_probabilities() -> None:
    network = causal_network(np.array([0.01, 0.01, 0.0001, 0.0001]), [(0, 2, 0.9), (1, 3, 0.9)])
    evidence = np.array([0.0, 0.0, 8.0, 8.0])
    belief = solved(network, evidence)
    first, second = belief.probability[:2]
    found = likeliest_sets(belief, roots(network), 4).sets
    assert found[0][0] == (0, 1)
    assert found[0][1] == pytest.approx(first * second)
    assert sum(mass for _, mass in found) == pytest.approx(1.0)


def test_causes_that_exclude_each_other_are_told_one_by_one_though_both_are_likely() -> None:
    network = causal_network(np.array([0.01, 0.008, 0.00001]), [(0, 2, 0.9), (1, 2, 0.9)])
    (first, second) = likeliest_sets(solved(network, np.array([0.0, 0.0, 9.0])), roots(network), 2).sets
    assert (first[0], second[0]) == ((0,), (1,))
    assert first[1] + second[1] > 0.98


def test_causes_not_worth_considering_are_left_open() -> None:
    network = causal_network(np.array([0.01, 1e-6, 0.0001]), [(0, 2, 0.9), (1, 2, 0.1)])
    found = likeliest_sets(solved(network, np.array([0.0, 0.0, 8.0])), roots(network), 5).sets
    assert {place for holds, _ in found for place in holds} == {0}


def test_a_search_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning.cause_sets, "MOST_SOLVED", 2)
    network = causal_network(np.append(np.full(6, 0.3), 0.01), [(i, 6, 0.5) for i in range(6)])
    found = likeliest_sets(solved(network, np.append(np.zeros(6), 4.0)), roots(network), 5)
    assert not found.exact
