"""Posteriors of whole networks: exact where they can be, close where they can't, and indifferent to how things are numbered."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.elimination import marginals, plan_elimination
from reasoning.errors import InconsistentEvidenceError, InvalidEvidenceError
from reasoning.inference import evidence_weights, posteriors
from reasoning.network import CausalNetwork, causal_network, network_of
from reasoning.regions import PlanCache
from schema.batches import Float64
from tests.reasoning.networks import enumerated, links_of, problems


@given(problems())
def test_posteriors_are_those_of_the_sum_over_all_worlds(problem: tuple[CausalNetwork, Float64]) -> None:
    network, evidence = problem
    found = posteriors(network, evidence, wanted=np.ones(len(network), np.bool_))
    assert found.exact
    np.testing.assert_allclose(found.probability, enumerated(network, evidence)[0], atol=1e-10)


@given(problems())
def test_all_with_evidence_on_or_below_is_exact_without_being_asked_for(problem: tuple[CausalNetwork, Float64]) -> None:
    network, evidence = problem
    relevant = set(np.flatnonzero(evidence).tolist())
    for variable in reversed(network.order.tolist()):
        if variable in relevant:
            relevant.update(network.parents(variable).tolist())
    places = sorted(relevant)
    np.testing.assert_allclose(posteriors(network, evidence).probability[places], enumerated(network, evidence)[0][places], atol=1e-10)


@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_variables_and_links_does_not_matter(problem: tuple[CausalNetwork, Float64], random: object) -> None:
    network, evidence = problem
    place = list(range(len(network)))
    links = links_of(network)
    random.shuffle(place)  # type: ignore[attr-defined]  # hypothesis's Random
    random.shuffle(links)  # type: ignore[attr-defined]
    leak, moved = np.empty(len(network)), np.empty(len(network))
    leak[place], moved[place] = network.leak, evidence
    renamed = causal_network(leak, [(place[cause], place[effect], strength) for cause, effect, strength in links])
    np.testing.assert_allclose(posteriors(renamed, moved).probability[place], posteriors(network, evidence).probability, atol=1e-10)


@given(problems())
def test_a_plan_kept_from_another_call_changes_nothing(problem: tuple[CausalNetwork, Float64]) -> None:
    network, evidence = problem
    plans = PlanCache()
    first = posteriors(network, evidence, plans=plans).probability
    posteriors(network, -evidence, plans=plans)
    assert posteriors(network, evidence, plans=plans).probability.tobytes() == first.tobytes()


@given(problems(), st.data())
def test_a_findings_weight_is_what_leaving_it_out_takes_from_the_log_odds(problem: tuple[CausalNetwork, Float64], data: st.DataObject) -> None:
    network, evidence = problem
    everything = np.ones(len(network), np.bool_)
    cause = data.draw(st.integers(0, len(network) - 1))
    solved = posteriors(network, evidence, wanted=everything)
    weights = evidence_weights(solved, evidence, np.array([cause], np.int64))[0]
    for variable in range(len(network)):
        without = evidence.copy()
        without[variable] = 0.0
        rest = posteriors(network, without, wanted=everything).probability[cause]
        change = _log_odds(solved.probability[cause]) - _log_odds(rest)
        assert weights[variable] == pytest.approx(change, abs=1e-6)


def test_what_evidence_can_not_reach_keeps_its_prior() -> None:
    network = causal_network(np.array([0.02, 0.03, 0.001, 0.002]), [(0, 2, 0.9), (1, 3, 0.5)])
    found = posteriors(network, np.array([0.0, 0.0, 4.0, 0.0])).probability
    assert found[1] == pytest.approx(0.03)
    assert found[3] == pytest.approx(1.0 - (1.0 - 0.002) * (1.0 - 0.5 * 0.03))


def test_evidence_that_is_not_a_number_is_refused_by_its_place() -> None:
    network = causal_network(np.array([0.1, 0.1]), [(0, 1, 0.5)])
    with pytest.raises(InvalidEvidenceError, match=r"variable 1 is not a number"):
        posteriors(network, np.array([0.0, np.nan]))


def test_evidence_of_another_network_is_refused() -> None:
    with pytest.raises(InvalidEvidenceError, match=r"2 variables needs as many values of evidence, not 3"):
        posteriors(causal_network(np.array([0.1, 0.1]), []), np.zeros(3))


def test_evidence_no_world_agrees_with_names_its_variables_in_the_whole_network() -> None:
    network = causal_network(np.array([0.3, 0.2, 0.0, 0.0]), [(0, 1, 0.5), (2, 3, 0.5)])
    with pytest.raises(InconsistentEvidenceError) as trouble:
        posteriors(network, np.array([0.0, 1.0, 0.0, np.inf]))
    assert trouble.value.variables == [3]


@pytest.mark.parametrize("seed", range(10))
def test_a_part_too_large_to_solve_whole_comes_close_to_the_exact_solution(seed: int) -> None:
    random = np.random.default_rng(seed)
    network, evidence = _estate(random, services=70)
    found = posteriors(network, evidence)
    assert not found.exact
    plan = plan_elimination(network.parent_ptr, network.parent, 24, 1 << 26)
    assert plan is not None
    exact = 1.0 / (1.0 + np.exp(-marginals(plan, network.leak, network.parent_ptr, network.strength, evidence)[0]))
    defects = np.flatnonzero(network.is_defect)
    assert np.argmax(found.probability[defects]) == np.argmax(exact[defects])
    assert np.abs(found.probability - exact)[defects].max() < 0.02
    assert np.abs(found.probability - exact)[defects].mean() < 5e-4


@pytest.mark.parametrize("strength", [1.0, 200.0, 1e6])
def test_a_dense_cluster_no_table_can_hold_still_gets_an_answer_that_owns_up(strength: float) -> None:
    random = np.random.default_rng(3)
    causes, effects = 40, 120
    links = [(i, causes + j, random.uniform(0.5, 0.9)) for j in range(effects) for i in random.choice(causes, 5, replace=False)]
    network = causal_network(np.append(np.full(causes, 0.3), np.full(effects, 0.01)), links)
    evidence = np.append(np.zeros(causes), np.where(random.random(effects) < 0.5, 3.0, -1.0))
    found = posteriors(network, strength * evidence)
    assert not found.exact
    assert ((found.probability >= 0.0) & (found.probability <= 1.0)).all()


def _estate(random: np.random.Generator, services: int) -> tuple[CausalNetwork, Float64]:
    """Services that call earlier ones: three defects and four conditions each, one to three defects true, noisy detectors."""
    each = 7
    links: list[tuple[int, int, float]] = []
    for service in range(services):
        defects, conditions = range(service * each, service * each + 3), range(service * each + 3, service * each + 7)
        for defect in defects:
            links.extend((defect, int(condition), random.uniform(0.3, 0.95)) for condition in random.choice(conditions, 2, replace=False))
        links.extend((condition, conditions[0], random.uniform(0.3, 0.95)) for condition in conditions[1:])
        callees = {int(callee) for callee in random.integers(0, service, random.poisson(1.5))} if service else set()
        links.extend((callee * each + 3, conditions[0], random.uniform(0.1, 0.95)) for callee in sorted(callees))
    is_defect = np.tile(np.arange(each) < 3, services)
    leak = np.where(is_defect, 10.0 ** random.uniform(-3.5, -2.5, is_defect.size), 0.0005)
    ends = np.array([link[:2] for link in links], np.int32)
    strength = np.array([link[2] for link in links])
    network = network_of(leak, ends[:, 0], ends[:, 1], strength, np.repeat(np.arange(services, dtype=np.int32), each), is_defect)
    return network, _observed(random, network)


def _observed(random: np.random.Generator, network: CausalNetwork) -> Float64:
    holds = np.zeros(len(network), np.bool_)
    holds[random.choice(np.flatnonzero(network.is_defect), random.integers(1, 4), replace=False)] = True
    evidence = np.zeros(len(network))
    for variable in itertools.filterfalse(network.is_defect.__getitem__, network.order.tolist()):
        silence = (1.0 - network.leak[variable]) * np.prod(1.0 - network.strengths(variable) * holds[network.parents(variable)])
        holds[variable] = random.random() > silence
        if random.random() < 0.75:
            fired = random.random() < (0.93 if holds[variable] else 0.01)
            evidence[variable] = random.uniform(2.0, 5.0) if fired else -random.uniform(1.0, 2.5)
    return evidence


def _log_odds(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))
