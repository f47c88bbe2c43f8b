"""Worlds drawn from a region's posterior: their shares are the exact posteriors', alone and together, and their number is bounded by counted work."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import reasoning.sampled_pair
from benchmarks.cyclic_networks import all_worlds, cyclic_problems, least_fixpoint_posteriors
from reasoning.counterfactual import counterfactual
from reasoning.inference import partition, posteriors
from reasoning.network import Bool, CausalNetwork, causal_network
from reasoning.ordinal import OrdinalPlan, draw_worlds, plan_ordinal
from reasoning.regions import PlanCache, Region
from schema.batches import Float64
from tests.reasoning import networks
from tests.reasoning.networks import enumerated

WORLDS = 4_096


def region_of(network: CausalNetwork, log_evidence: Float64) -> Region:
    """All of a network that hangs together, in the order of its variables."""
    (region,) = partition(network, log_evidence, np.ones(len(network), np.bool_), PlanCache()).regions
    return region


def drawn(region: Region, seed: int) -> Bool:
    back = region.feedback
    plan = plan_ordinal(region.parent_ptr, region.parent, (back.cause, back.effect), 22, 1 << 22, chained=True)
    assert plan is not None
    holds = draw_worlds(plan, region.leak, region.strength, back.strength, region.log_evidence, WORLDS, np.random.default_rng(seed))
    assert holds is not None
    return holds


def random_problem(seed: int, variables: int, causes: int) -> tuple[CausalNetwork, Float64]:
    """A network that hangs together, with families of up to as many causes, and evidence on most of its variables."""
    random = np.random.default_rng(seed)
    links = [
        (int(cause), effect, random.uniform(0.05, 0.95))
        for effect in range(1, variables)
        for cause in random.choice(effect, min(effect, int(random.integers(1, causes + 1))), replace=False)
    ]
    return causal_network(random.uniform(0.01, 0.3, variables), links), np.where(random.random(variables) < 0.7, random.normal(0.0, 2.0, variables), 0.0)


def four_errors(share: Float64) -> Float64:
    return 4.0 * np.sqrt(share * (1.0 - share) / WORLDS) + 4.0 / WORLDS


@pytest.mark.parametrize("seed", range(12))
def test_shares_of_drawn_worlds_are_the_posteriors_alone_and_in_pairs(seed: int) -> None:
    network, evidence = random_problem(seed, 9, 5)
    holds = drawn(region_of(network, evidence), 100 + seed)
    belief, normaliser = enumerated(network, evidence)
    assert (np.abs(holds.mean(axis=1) - belief) < four_errors(belief)).all()
    for one, other in itertools.combinations(range(len(network)), 2):
        sure = evidence.copy()
        sure[one], sure[other] = evidence[one] + 50.0, evidence[other] + 50.0
        both = np.array([np.exp(enumerated(network, sure)[1] - 100.0 - normaliser)])  # the others' weight is e-50 at most
        assert abs((holds[one] & holds[other]).mean() - both[0]) < four_errors(both)[0]


def test_shares_of_worlds_of_a_large_region_are_its_posteriors() -> None:
    network, evidence = random_problem(3, 120, 2)
    belief = posteriors(network, evidence)
    assert belief.exact
    assert (np.abs(drawn(region_of(network, evidence), 3).mean(axis=1) - belief.probability) < four_errors(belief.probability)).all()


def test_what_is_certain_holds_in_all_worlds_or_in_none() -> None:
    network, evidence = random_problem(5, 9, 5)
    evidence[[2, 7]] = np.inf, -np.inf
    holds = drawn(region_of(network, evidence), 5)
    assert holds[2].all()
    assert not holds[7].any()


def test_around_cycles_shares_of_drawn_worlds_are_those_of_least_fixpoints() -> None:
    joined = 0
    for seed, problem in enumerate(cyclic_problems(24)):
        network = problem.network()
        parts = partition(network, problem.log_evidence, np.ones(len(network), np.bool_), PlanCache())
        belief = least_fixpoint_posteriors(problem)
        worlds, weight = all_worlds(problem)
        weight = weight * np.exp(problem.log_evidence @ worlds)
        for region in parts.regions:
            holds, own = drawn(region, seed), region.variables
            assert (np.abs(holds.mean(axis=1) - belief[own]) < four_errors(belief[own])).all()
            together = np.array([(worlds[own].min(axis=0) @ weight) / weight.sum()])
            assert abs(holds.all(axis=0).mean() - together[0]) < four_errors(together)[0]
            joined += len(region.feedback) > 0
    assert joined > 10


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What each draw came to: the variables and the worlds."""
    seen: list[tuple[int, int]] = []

    def counted(plan: OrdinalPlan, leak: Float64, strength: Float64, back: Float64, evidence: Float64, worlds: int, random: np.random.Generator) -> Bool | None:
        seen.append((plan.plan.size.size, worlds))
        return draw_worlds(plan, leak, strength, back, evidence, worlds, random)

    monkeypatch.setattr(reasoning.sampled_pair, "draw_worlds", counted)
    return seen


def two_parts() -> tuple[CausalNetwork, Float64]:
    """Twice two causes of four effects, with no link between."""
    links = [(6 * part + cause, 6 * part + effect, 0.4) for part in range(2) for cause in range(2) for effect in range(2, 6)]
    return causal_network(np.array(([0.2] * 2 + [0.05] * 4) * 2), links), np.array(([0.0] * 2 + [1.0] * 4) * 2)


FORCES = {0: False, 1: True, 6: False, 7: True}


def test_worlds_are_as_many_as_the_counted_work_allows_for_all_regions_together(draws: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    network, evidence = two_parts()
    part = causal_network(network.leak[:6], [link for link in networks.links_of(network) if link[1] < 6])
    exact = np.tile(networks.counterfactual(part, {0: False, 1: True}, evidence[:6])[1], 2)
    errors = []
    for most in (1 << 16, 1 << 23):
        draws.clear()
        monkeypatch.setattr(reasoning.sampled_pair, "MOST_DRAWS", most)
        found = counterfactual(network, FORCES, evidence, np.random.default_rng(1))
        assert len(draws) == 2
        assert sum(variables * (worlds + reasoning.sampled_pair.OVERHEAD) for variables, worlds in draws) <= most
        assert found.standard_error is not None
        np.testing.assert_allclose(found.after, exact, atol=4.0 * found.standard_error)
        errors.append(found.standard_error)
    assert errors[0] > 1.5 * errors[1]


@pytest.mark.parametrize(("limit", "value"), [("MOST_CELLS", 100), ("WIDEST", 1), ("MOST_DRAWS", 20_000)])
def test_where_the_work_would_be_too_much_no_world_is_drawn_and_nobody_knows_the_error(
    draws: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    network, evidence = two_parts()
    monkeypatch.setattr(reasoning.sampled_pair, limit, value)
    found = counterfactual(network, FORCES, evidence, np.random.default_rng(1))
    assert (draws, found.exact, found.standard_error) == ([], False, None)


def test_luck_around_cycles_is_tried_only_as_often_as_the_counted_work_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    locally = reasoning.sampled_pair._locally

    def counted(links: reasoning.sampled_pair._Links, leak: Float64, below: Bool, world: Bool, random: np.random.Generator) -> tuple[Bool, Bool]:
        nonlocal tried
        tried += links.cause.size * world.shape[1]
        return locally(links, leak, below, world, random)

    monkeypatch.setattr(reasoning.sampled_pair, "_locally", counted)
    problem = next(each for each in cyclic_problems(8) if len(each.network().feedback))
    network = problem.network()
    forced = {int(network.feedback.cause[0]): False}
    found = counterfactual(network, forced, problem.log_evidence, np.random.default_rng(1))
    assert found.standard_error is not None
    usual, tried = tried, 0
    monkeypatch.setattr(reasoning.sampled_pair, "MOST_TRIES", usual - 1)
    counterfactual(network, forced, problem.log_evidence, np.random.default_rng(1))
    assert tried <= usual - 1
