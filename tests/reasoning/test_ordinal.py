"""Feedback by levels against the least fixpoint over all ways in which leaks and links can fire."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cyclic_networks import CyclicProblem, cyclic_problems, least_fixpoint_posteriors
from reasoning.cycles import feedback_links
from reasoning.elimination import marginals, plan_elimination
from reasoning.errors import InconsistentEvidenceError
from reasoning.ordinal import OrdinalPlan, ordinal_log_odds, plan_ordinal
from reasoning.solution import probabilities
from schema.batches import Float64, Int32, Int64

WIDEST, MOST_CELLS = 16, 1 << 20


@st.composite
def problems(draw: st.DrawFn, most_feedback: int = 9, variables: int = 5) -> CyclicProblem:
    pairs = [(i, j) for i in range(variables) for j in range(variables) if i != j]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=9))
    ends = np.array(chosen, np.int32).reshape(-1, 2)
    strength = np.array(draw(st.lists(st.floats(0.05, 1.0), min_size=len(chosen), max_size=len(chosen))), np.float64)
    leak = np.array(draw(st.lists(st.floats(0.001, 0.5), min_size=variables, max_size=variables)))
    evidence = np.array(draw(st.lists(st.one_of(st.just(0.0), st.floats(-5.0, 5.0)), min_size=variables, max_size=variables)))
    cause, effect = ends[:, 0].copy(), ends[:, 1].copy()
    surplus = np.flatnonzero(feedback_links(variables, cause, effect, strength))[most_feedback:]
    return CyclicProblem(leak, np.delete(cause, surplus), np.delete(effect, surplus), np.delete(strength, surplus), evidence, 0)


def split(problem: CyclicProblem) -> tuple[Int64, Int32, Float64, tuple[Int32, Int32], Float64]:
    """Acyclic links in CSR form, and the feedback links."""
    feedback = feedback_links(problem.leak.size, problem.cause, problem.effect, problem.strength)
    kept = np.flatnonzero(~feedback)
    kept = kept[np.lexsort((problem.cause[kept], problem.effect[kept]))]
    parent_ptr = np.concatenate(([0], np.cumsum(np.bincount(problem.effect[kept], minlength=problem.leak.size)))).astype(np.int64)
    ends = problem.cause[feedback], problem.effect[feedback]
    return parent_ptr, problem.cause[kept], problem.strength[kept], ends, problem.strength[feedback]


def solved(problem: CyclicProblem, levels: int) -> tuple[Float64, OrdinalPlan]:
    parent_ptr, parent, strength, feedback, feedback_strength = split(problem)
    plan = plan_ordinal(parent_ptr, parent, feedback, WIDEST, MOST_CELLS, levels)
    assert plan is not None
    return probabilities(ordinal_log_odds(plan, problem.leak, strength, feedback_strength, problem.log_evidence)), plan


def without_evidence(problem: CyclicProblem) -> CyclicProblem:
    return CyclicProblem(problem.leak, problem.cause, problem.effect, problem.strength, np.zeros(problem.leak.size), 0)


@given(problems(most_feedback=2))
def test_two_rounds_are_the_least_fixpoint_of_up_to_two_feedback_links(problem: CyclicProblem) -> None:
    found, plan = solved(problem, 2)
    assert plan.complete
    np.testing.assert_allclose(found, least_fixpoint_posteriors(problem), atol=1e-9)


@given(problems(), st.integers(1, 3))
def test_a_plan_that_says_it_is_complete_is_the_least_fixpoint(problem: CyclicProblem, levels: int) -> None:
    found, plan = solved(problem, levels)
    if plan.complete:
        np.testing.assert_allclose(found, least_fixpoint_posteriors(problem), atol=1e-9)


@given(problems())
def test_each_round_can_only_add_to_what_is_predicted_and_never_passes_the_fixpoint(problem: CyclicProblem) -> None:
    prior = without_evidence(problem)
    fixpoint = least_fixpoint_posteriors(prior)
    rounds = [solved(prior, levels)[0] for levels in (1, 2, 3)]
    for fewer, more in zip(rounds, [*rounds[1:], fixpoint], strict=True):
        assert (more >= fewer - 1e-12).all()


@given(problems(most_feedback=0))
def test_without_a_cycle_levels_change_nothing(problem: CyclicProblem) -> None:
    parent_ptr, parent, strength, _, _ = split(problem)
    plan = plan_elimination(parent_ptr, parent, WIDEST, MOST_CELLS)
    assert plan is not None
    wanted = probabilities(marginals(plan, problem.leak, parent_ptr, strength, problem.log_evidence)[0])
    np.testing.assert_allclose(solved(problem, 2)[0], wanted, atol=1e-12)


@given(problems(most_feedback=1), st.data())
def test_certain_evidence_is_the_limit_of_strong_evidence(problem: CyclicProblem, data: st.DataObject) -> None:
    seen, holds = data.draw(st.integers(0, problem.leak.size - 1)), data.draw(st.booleans())
    problem.log_evidence[seen] = 50.0 if holds else -50.0
    wanted = least_fixpoint_posteriors(problem)
    problem.log_evidence[seen] = np.inf if holds else -np.inf
    found = solved(problem, 1)[0]
    assert found[seen] == pytest.approx(float(holds), abs=1e-300)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_two_services_that_slow_each_other_by_hand() -> None:
    """A holds by itself (.1) or through B (.5), B by itself (.2) or through A (.8)."""
    problem = CyclicProblem(np.array([0.1, 0.2]), np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.8, 0.5]), np.zeros(2), 0)
    found, plan = solved(problem, 1)
    assert plan.complete
    np.testing.assert_allclose(found, [0.1 + 0.9 * 0.2 * 0.5, 0.2 + 0.8 * 0.1 * 0.8], atol=1e-12)


def test_one_round_comes_close_on_a_hundred_small_cyclic_networks_and_two_are_exact() -> None:
    """Without any the worst defect is off by .3."""
    one: list[float] = []
    two: list[float] = []
    for problem in cyclic_problems(100):
        exact = least_fixpoint_posteriors(problem)
        for errors, levels in ((one, 1), (two, 2)):
            errors.append(float(np.abs(solved(problem, levels)[0] - exact)[: problem.roots].max()))
    assert np.mean(one) <= 0.002
    assert np.count_nonzero(np.array(one) > 0.03) <= 1
    assert max(two) <= 1e-9


def test_where_there_is_no_room_for_a_second_round_one_is_followed_and_where_there_is_none_nothing() -> None:
    random = np.random.default_rng(1)
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    chosen = np.array([pairs[place] for place in random.permutation(len(pairs))[:24]], np.int32)
    problem = CyclicProblem(np.full(7, 0.1), chosen[:, 0].copy(), chosen[:, 1].copy(), random.uniform(0.2, 0.6, 24), np.zeros(7), 0)
    parent_ptr, parent, _, feedback, _ = split(problem)
    rounds = [plan.levels if (plan := plan_ordinal(parent_ptr, parent, feedback, widest, 1 << 26, 2)) else 0 for widest in range(4, 24)]
    assert rounds == sorted(rounds)
    assert set(rounds) == {0, 1, 2}


def test_evidence_no_world_agrees_with_names_its_variables() -> None:
    problem = CyclicProblem(
        np.zeros(3), np.array([0, 1, 1], np.int32), np.array([1, 0, 2], np.int32), np.array([0.5, 0.4, 0.5]), np.array([0.0, 0.0, np.inf]), 0
    )
    with pytest.raises(InconsistentEvidenceError) as trouble:
        solved(problem, 1)
    assert trouble.value.variables == [2]
