"""Sampled do(): as the sum over all worlds says, within the standard error it gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reasoning.monte_carlo
from benchmarks.cyclic_networks import CyclicProblem, cyclic_problems, least_fixpoint_posteriors
from reasoning.monte_carlo import BlastRadius, blast_radius, usually
from reasoning.network import CausalNetwork, FeedbackLinks, causal_network, network_of
from schema.batches import Float64
from tests.reasoning.networks import enumerated, links_of, networks, reachable

WORLDS = 16_384


def sampled(network: CausalNetwork, cause: int, seed: int = 1, worlds: int = WORLDS) -> BlastRadius:
    return blast_radius(network, cause, np.random.default_rng(seed), worlds=worlds)


def exactly(network: CausalNetwork, cause: int, value: float) -> Float64:
    leak = network.leak.copy()
    leak[cause] = value
    cut = causal_network(leak, [link for link in links_of(network) if link[1] != cause])
    return enumerated(cut, np.zeros(len(network)))[0]


def made(seed: int, count: int = 10) -> CausalNetwork:
    random = np.random.default_rng(seed)
    links = [(i, j, random.uniform(0.02, 1.0)) for j in range(count) for i in range(j) if random.random() < 0.4]
    return causal_network(random.choice([0.001, 0.02, 0.3, 0.97], count), links)


def far(share: Float64, exact: Float64) -> float:
    """The largest distance in standard errors; a single world more or less is no distance."""
    error = np.sqrt(np.maximum(exact * (1.0 - exact), 4.0 / WORLDS) / WORLDS)
    return float(np.max(np.abs(share - exact) / error))


@pytest.mark.parametrize("seed", range(24))
def test_both_worlds_are_within_four_standard_errors_of_the_sum_over_all_worlds(seed: int) -> None:
    network = made(seed)
    cause = seed % 5
    found = sampled(network, cause, seed)
    assert set(found.variables.tolist()) == set(np.flatnonzero(reachable(network, cause)).tolist())
    assert found.complete
    assert far(found.with_it, exactly(network, cause, 1.0)[found.variables]) < 4.0
    assert far(found.without, exactly(network, cause, 0.0)[found.variables]) < 4.0


def test_the_standard_error_is_how_far_answers_scatter() -> None:
    network = causal_network(np.array([0.1, 0.05, 0.02, 0.002]), [(0, 2, 0.6), (1, 2, 0.9), (2, 3, 0.3)])
    runs = [sampled(network, 0, seed, worlds=1_024) for seed in range(400)]
    shares, told = np.array([run.with_it for run in runs])[:, 1:], np.array([run.standard_error() for run in runs])[:, 1:]
    np.testing.assert_allclose(shares.std(axis=0), told.mean(axis=0), rtol=0.15)
    np.testing.assert_allclose(shares.mean(axis=0), exactly(network, 0, 1.0)[[2, 3]], atol=4.0 * told.mean() / np.sqrt(400))


@given(networks(), st.integers(0, 7), st.integers(0, 5))
def test_no_world_loses_by_the_cause_what_it_has_without_it(network: CausalNetwork, cause: int, seed: int) -> None:
    found = sampled(network, cause % len(network), seed, worlds=64)
    assert (found.with_it >= found.without).all()


def test_the_same_random_state_gives_the_same_answer() -> None:
    network = made(3)
    assert sampled(network, 0, 5).with_it.tobytes() == sampled(network, 0, 5).with_it.tobytes()
    assert sampled(network, 0, 5).with_it.tobytes() != sampled(network, 0, 6).with_it.tobytes()


def test_worlds_come_in_whole_words() -> None:
    assert sampled(made(1), 0, worlds=100).worlds == 128


def test_what_nothing_leads_to_stands_alone() -> None:
    found = sampled(causal_network(np.array([0.2, 0.3]), []), 1)
    assert (found.variables.tolist(), found.with_it.tolist(), found.without.tolist()) == ([1], [1.0], [0.0])


def test_causes_for_which_there_is_no_room_are_taken_at_their_usual_probability() -> None:
    links = [(0, 2, 0.6), (1, 2, 0.9), (2, 3, 0.3), (4, 3, 0.7), (5, 4, 0.5)]
    network = causal_network(np.array([0.1, 0.3, 0.02, 0.002, 0.01, 0.4]), links)
    for most in range(4):
        found = blast_radius(network, 0, np.random.default_rng(1), worlds=WORLDS, most=most)
        assert found.complete == (most == 3)
        assert far(found.with_it, exactly(network, 0, 1.0)[found.variables]) < 4.0
        given_usual = blast_radius(network, 0, np.random.default_rng(1), worlds=WORLDS, most=most, usual=usually(network))
        assert given_usual.with_it.tobytes() == found.with_it.tobytes()


def test_worlds_that_do_not_fit_at_once_are_sampled_one_batch_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning.monte_carlo, "MOST_WORDS", 20)
    network = made(4)
    found = sampled(network, 0, worlds=WORLDS)
    assert found.worlds == WORLDS
    assert far(found.with_it, exactly(network, 0, 1.0)[found.variables]) < 4.0
    assert sampled(network, 0, worlds=2_048).with_it.tobytes() != sampled(network, 0, worlds=1_024).with_it.tobytes()


@pytest.mark.parametrize("problem", cyclic_problems(12))
def test_around_a_cycle_both_worlds_are_those_of_the_least_fixpoint(problem: CyclicProblem) -> None:
    cause = problem.roots  # a condition, mostly within the cycle
    found = sampled(problem.network(), cause)
    for value, share in ((1.0, found.with_it), (0.0, found.without)):
        leak, kept = problem.leak.copy(), problem.effect != cause
        leak[cause] = value
        cut = CyclicProblem(leak, problem.cause[kept], problem.effect[kept], problem.strength[kept], np.zeros(leak.size), problem.roots)
        assert far(share, least_fixpoint_posteriors(cut)[found.variables]) < 4.0
    assert (found.with_it >= found.without).all()


def test_feedback_reaches_what_no_other_link_does_and_brings_its_causes_along() -> None:
    feedback = FeedbackLinks(np.array([1], np.int32), np.array([2], np.int32), np.array([0.5]))
    network = causal_network(np.array([0.0, 0.1, 0.2, 0.4]), [(0, 1, 0.8), (2, 1, 0.3), (3, 2, 0.6)])
    cyclic = network_of(network.leak, network.parent, network.effect, network.strength, network.cluster, network.is_defect, feedback)
    found = sampled(cyclic, 0)
    assert (set(found.variables.tolist()), found.complete) == ({0, 1, 2}, True)
    problem = CyclicProblem(
        np.array([1.0, 0.1, 0.2, 0.4]), np.array([0, 2, 3, 1], np.int32), np.array([1, 1, 2, 2], np.int32), np.array([0.8, 0.3, 0.6, 0.5]), np.zeros(4), 1
    )
    assert far(found.with_it, least_fixpoint_posteriors(problem)[found.variables]) < 4.0
