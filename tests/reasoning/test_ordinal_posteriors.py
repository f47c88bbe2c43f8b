"""Feedback in whole networks: posteriors, weights of findings and predictions follow the least fixpoint."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cyclic_networks import CyclicProblem, cyclic_problems, least_fixpoint_posteriors
from reasoning.compile import compile_network
from reasoning.diagnosis import log_evidence_of
from reasoning.errors import InvalidNetworkError
from reasoning.evidence.state import EvidenceState
from reasoning.inference import evidence_weights, posteriors
from reasoning.intervention import forced_probabilities
from reasoning.network import FeedbackLinks, network_of, strongest_paths
from reasoning.reasoner import Reasoner
from reasoning.regions import PlanCache
from tests.reasoning.estates import CART, FRONT, ORDERS, ORDERS_DB, SLOW_QUERY, START, calls, estate, feedback_names, knowledge, latency, slow

SLOW_FRONT, SLOW_CART = (slow(entity, 4.0) for entity in (FRONT, CART))


@pytest.mark.parametrize("problem", cyclic_problems(20))
def test_posteriors_are_those_of_the_least_fixpoint(problem: CyclicProblem) -> None:
    found = posteriors(problem.network(), problem.log_evidence, wanted=np.ones(problem.leak.size, np.bool_))
    assert found.exact
    np.testing.assert_allclose(found.probability, least_fixpoint_posteriors(problem), atol=1e-9)


@pytest.mark.parametrize("problem", cyclic_problems(5))
def test_a_findings_weight_is_what_leaving_it_out_takes_from_the_log_odds(problem: CyclicProblem) -> None:
    network, everything = problem.network(), np.ones(problem.leak.size, np.bool_)
    weights = evidence_weights(posteriors(network, problem.log_evidence, wanted=everything), problem.log_evidence, np.arange(problem.roots))
    with_all = least_fixpoint_posteriors(problem)
    for variable in np.flatnonzero(problem.log_evidence):
        rest = problem.log_evidence.copy()
        rest[variable] = 0.0
        without = least_fixpoint_posteriors(CyclicProblem(problem.leak, problem.cause, problem.effect, problem.strength, rest, problem.roots))
        change = np.log(with_all / (1.0 - with_all)) - np.log(without / (1.0 - without))
        np.testing.assert_allclose(weights[:, variable], change[: problem.roots], atol=1e-6)


def test_in_a_network_that_has_to_be_cut_feedback_that_matters_is_followed_all_the_same() -> None:
    """Many copies, tied into one part by links that carry next to nothing."""
    copies, problem = 50, cyclic_problems(12)[-1]  # one that is off by .26 without its feedback
    network = problem.network(copies)
    seen = np.arange(copies, dtype=np.int32)[1:] * 7 + int(np.flatnonzero(problem.log_evidence)[0])
    cause, effect = np.append(network.parent, np.zeros(copies - 1, np.int32)), np.append(network.effect, seen)
    strength = np.append(network.strength, np.full(copies - 1, 1e-7))
    tied = network_of(network.leak, cause, effect, strength, network.cluster, network.is_defect, network.feedback)
    found = posteriors(tied, np.tile(problem.log_evidence, copies), wanted=np.ones(len(tied), np.bool_))
    assert not found.exact
    np.testing.assert_allclose(found.probability, np.tile(least_fixpoint_posteriors(problem), copies), atol=0.01)


def test_of_two_services_that_slow_each_other_either_explains_both() -> None:
    pair = [calls(FRONT, CART), calls(CART, FRONT)]
    live = {pair[0]: {"share_of_latency_excess": 0.9}, pair[1]: {"share_of_latency_excess": 0.8}}
    compiled = compile_network(knowledge(), estate(pair), live)
    solved = posteriors(compiled.network, log_evidence_of(compiled, [SLOW_FRONT, SLOW_CART]))
    causes = {name: float(solved.probability[place]) for place, name in enumerate(compiled.names) if compiled.is_defect[place]}
    assert solved.exact
    assert min(causes.values()) > 0.2
    for cause in causes:
        reached = strongest_paths(compiled.network, compiled.index[cause])
        assert min(reached[compiled.index[latency(entity)]] for entity in (FRONT, CART)) > 0.5


def test_what_is_forced_travels_feedback_links_but_does_not_listen_to_them() -> None:
    problem = CyclicProblem(np.array([0.1, 0.2]), np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.8, 0.5]), np.zeros(2), 0)
    network = problem.network()
    assert network.feedback.effect.tolist() == [0]
    np.testing.assert_allclose(forced_probabilities(network, {1: True}), [0.1 + 0.9 * 0.5, 1.0])
    np.testing.assert_allclose(forced_probabilities(network, {0: True}), [1.0, 0.2 + 0.8 * 0.8])


def test_feedback_that_is_no_probability_is_refused() -> None:
    nothing = np.empty(0, np.int32)
    feedback = FeedbackLinks(np.array([0], np.int32), np.array([1], np.int32), np.array([1.5]))
    with pytest.raises(InvalidNetworkError, match=r"strength at index 0 is 1\.5"):
        network_of(np.array([0.1, 0.1]), nothing, nothing, np.empty(0), np.arange(2, dtype=np.int32), np.zeros(2, np.bool_), feedback)


def test_where_not_all_feedback_fits_part_of_it_is_followed_and_nothing_is_called_exact() -> None:
    random = np.random.default_rng(1)
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    ends = np.array([pairs[place] for place in random.permutation(len(pairs))[:24]], np.int32)
    network = CyclicProblem(np.full(7, 0.1), ends[:, 0].copy(), ends[:, 1].copy(), random.uniform(0.2, 0.6, 24), np.zeros(7), 0).network()
    for widest in range(3, 20):
        solved = posteriors(network, np.zeros(7), wanted=np.ones(7, np.bool_), plans=PlanCache(widest=widest))
        followed = sum(len(region.feedback) for region in solved.parts.regions)
        assert followed == len(network.feedback) or not solved.exact


def test_a_diagnosis_follows_feedback() -> None:
    """Orders and the cart call each other; what slows the orders slows the cart over the weaker way."""
    relations = [calls(CART, ORDERS), calls(ORDERS, CART), calls(ORDERS, ORDERS_DB)]
    live = {relations[0]: {"share_of_latency_excess": 0.4}, relations[1]: {"share_of_latency_excess": 0.9}}
    reasoner = Reasoner(knowledge(), estate(relations))
    findings = slow(ORDERS_DB, 4.0), slow(ORDERS, 4.0), slow(CART, 4.0)
    reasoner._state = EvidenceState(START, findings, live)
    reasoner._follow()
    found = {cause.cause: cause for cause in reasoner.conclude().root_causes}[SLOW_QUERY]
    compiled = compile_network(knowledge(), estate(relations), live)
    assert feedback_names(compiled) == ((latency(ORDERS), latency(CART)),)
    evidence = log_evidence_of(compiled, findings)
    exact = least_fixpoint_posteriors(CyclicProblem(compiled.leak, compiled.cause, compiled.effect, compiled.strength, evidence, 0))
    assert found.probability == pytest.approx(exact[compiled.index[SLOW_QUERY]], abs=1e-9)
    assert latency(CART) in found.explains
