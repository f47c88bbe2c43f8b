"""Belief that is kept from change to change equals belief made anew; where nothing need be cut it is the sum over all worlds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.cyclic_networks import calling_back, cyclic_problems, least_fixpoint_posteriors
from benchmarks.estates import STYLES, alarm_ratio, incident, synthetic_estate
from reasoning.belief import BeliefState
from reasoning.belief_arrays import state_arrays, state_of
from reasoning.core_solver import BeliefSettings
from reasoning.errors import InconsistentEvidenceError, InvalidEvidenceError, InvalidNetworkError
from reasoning.inference import close_upwards
from reasoning.network import CausalNetwork, FeedbackLinks, causal_network, network_of, no_feedback
from reasoning.regions import PlanCache
from schema.batches import Float64, Int64
from tests.reasoning.networks import enumerated, networks, problems

NO_CORES = BeliefSettings(tolerance=1e-6, influence=2.0, most_uncut=0)
CUT_OFTEN = BeliefSettings(tolerance=1e-6, influence=1e-3, most_uncut=0)


@given(problems())
def test_small_networks_are_solved_exactly(problem: tuple[CausalNetwork, Float64]) -> None:
    network, evidence = problem
    places = _informed(network, evidence)
    np.testing.assert_allclose(BeliefState(network, evidence).probability[places], enumerated(network, evidence)[0][places], atol=1e-5)


@given(networks(7), st.data())
def test_entities_of_several_variables_change_nothing(network: CausalNetwork, data: st.DataObject) -> None:
    count = len(network)
    entity = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), np.int32)
    evidence = np.array(data.draw(st.lists(st.floats(-6.0, 6.0), min_size=count, max_size=count)))
    grouped = network_of(network.leak, network.parent, network.effect, network.strength, entity, network.is_defect)
    places = _informed(network, evidence)
    np.testing.assert_allclose(BeliefState(grouped, evidence).probability[places], enumerated(network, evidence)[0][places], atol=1e-5)


@given(st.integers(1, 9), st.data())
def test_propagation_alone_is_exact_on_trees(count: int, data: st.DataObject) -> None:
    links = []
    for later in range(1, count):
        ends = [data.draw(st.integers(0, later - 1)), later]
        if data.draw(st.booleans()):
            ends.reverse()
        links.append((ends[0], ends[1], data.draw(st.floats(0.05, 0.95))))
    leak = np.array(data.draw(st.lists(st.floats(0.01, 0.5), min_size=count, max_size=count)))
    evidence = np.array(data.draw(st.lists(st.floats(-4.0, 4.0), min_size=count, max_size=count)))
    network = causal_network(leak, links)
    np.testing.assert_allclose(BeliefState(network, evidence, NO_CORES).probability, enumerated(network, evidence)[0], atol=1e-4)


def test_an_entity_alone_is_exact_by_propagation() -> None:
    """Loops within an entity are no loops to propagation: its states are enumerated."""
    links = [(0, 2, 0.9), (0, 3, 0.7), (1, 2, 0.5), (1, 3, 0.6), (2, 3, 0.3), (4, 2, 0.8)]
    whole = causal_network(np.array([0.01, 0.02, 0.001, 0.002, 0.05]), links)
    network = network_of(whole.leak, whole.parent, whole.effect, whole.strength, np.array([0, 0, 0, 0, 1], np.int32), whole.is_defect)
    evidence = np.array([0.0, 0.0, 4.0, 3.0, -1.0])
    np.testing.assert_allclose(BeliefState(network, evidence, NO_CORES).probability, enumerated(whole, evidence)[0], atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_an_entity_too_large_to_enumerate_is_still_solved(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = 14
    links = [(int(cause), effect, float(random.uniform(0.2, 0.9))) for effect in range(4, count) for cause in random.choice(effect, 2, replace=False)]
    whole = causal_network(random.uniform(0.01, 0.1, count), links)
    network = network_of(whole.leak, whole.parent, whole.effect, whole.strength, np.zeros(count, np.int32), whole.is_defect)
    evidence = random.uniform(-3.0, 4.0, count)
    np.testing.assert_allclose(BeliefState(network, evidence).probability, enumerated(whole, evidence)[0], atol=1e-6)


def _informed(network: CausalNetwork, evidence: Float64) -> Int64:
    """The variables with evidence on or below them; the others follow from their causes as if these were independent."""
    informed = np.abs(evidence) > 1e-6
    close_upwards(network.order, network.parent_ptr, network.parent, informed)
    return np.flatnonzero(informed)


def test_feedback_within_and_between_entities_is_followed_to_its_least_fixpoint() -> None:
    for problem in cyclic_problems(12):
        network = problem.network()
        assert len(network.feedback)
        found = BeliefState(network, problem.log_evidence).probability[: problem.roots]
        np.testing.assert_allclose(found, least_fixpoint_posteriors(problem)[: problem.roots], atol=1e-5)


def test_where_cores_are_too_narrow_for_all_feedback_most_of_what_it_does_is_kept() -> None:
    left_out: list[float] = []
    narrow: list[float] = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        estate = calling_back(synthetic_estate(6, seed, style=STYLES[seed % 4]), 0.3, random)
        network, evidence = estate.network, incident(estate, 1 + seed % 3, random)[1]
        whole = BeliefState(network, evidence)
        if whole.posteriors().exact:
            others = BeliefState(replace(network, feedback=no_feedback()), evidence), BeliefState(network, evidence, CUT_OFTEN, PlanCache(widest=8))
            for errors, other in zip((left_out, narrow), others, strict=True):
                errors.append(abs(other.probability - whole.probability)[network.is_defect].max())
    assert np.mean(narrow) < np.mean(left_out) / 3.0


@dataclass(slots=True)
class _Estate:
    """What a state should know, kept the plain way."""

    network: CausalNetwork
    evidence: Float64

    def rebuilt(self, leak: Float64, strength: Float64, more: tuple[int, int, float] | None = None) -> None:
        old = self.network
        cause, effect = old.parent, old.effect
        if more:
            cause, effect, strength = np.append(cause, more[0]).astype(np.int32), np.append(effect, more[1]).astype(np.int32), np.append(strength, more[2])
        self.network = network_of(leak, cause, effect, strength, old.cluster, old.is_defect)


@given(st.sampled_from(STYLES), st.integers(0, 20), st.sampled_from([2, 4, 16]), st.lists(st.integers(0, 6), min_size=1, max_size=12))
@settings(max_examples=40)
def test_a_state_that_went_through_changes_equals_one_made_anew(style: str, seed: int, widest: int, changes: list[int]) -> None:
    """Narrow cores fall apart and come together again, so that clusters leave them, join them and are left to propagation."""
    random = np.random.default_rng(seed)
    estate = synthetic_estate(12, seed, style=style, prior_scale=0.3)  # type: ignore[arg-type]  # one of STYLES
    known = _Estate(estate.network, incident(estate, 2, random)[1])
    state = BeliefState(known.network, known.evidence, CUT_OFTEN, PlanCache(widest=widest))
    for change in changes:
        _change(state, known, change, random, alarm_ratio(estate, random.random(len(estate.network)) < 0.3))
        state.settle()
    anew = BeliefState(known.network, known.evidence, CUT_OFTEN, PlanCache(widest=widest))
    assume(not state.unsettled.size and not anew.unsettled.size)  # what found no rest is reported instead
    np.testing.assert_allclose(state.probability, anew.probability, atol=2e-3)


def _change(state: BeliefState, known: _Estate, change: int, random: np.random.Generator, ratios: Float64) -> None:
    network = known.network
    if change <= 2:
        chosen = np.sort(random.choice(len(network), change + 1, replace=False))
        known.evidence[chosen] = ratios[chosen] * (random.random(chosen.size) < 0.8)
        state.observe(chosen, known.evidence[chosen])
    elif change == 3:
        chosen = random.choice(network.strength.size, 3, replace=False)
        strength = network.strength.copy()
        strength[chosen] = random.uniform(0.05, 0.9, 3)
        state.set_strengths(network.parent[chosen], network.effect[chosen], strength[chosen])
        known.rebuilt(network.leak, strength)
    elif change == 4:
        chosen = random.choice(len(network), 3, replace=False)
        leak = network.leak.copy()
        leak[chosen] = random.uniform(0.0001, 0.1, 3)
        state.set_leaks(chosen, leak[chosen])
        known.rebuilt(leak, network.strength)
    elif change == 5:
        cause, effect = _new_link(network, random)
        state.connect(np.array([cause], np.int32), np.array([effect], np.int32), np.array([0.7]))
        known.rebuilt(network.leak, network.strength, (cause, effect, 0.7))
    else:
        gone = random.integers(network.strength.size)
        state.set_strengths(network.parent[[gone]], network.effect[[gone]], np.zeros(1))
        known.rebuilt(network.leak, np.where(np.arange(network.strength.size) == gone, 0.0, network.strength))


@given(st.integers(0, 40), st.sampled_from([3, 5, 16]), st.lists(st.integers(0, 3), min_size=1, max_size=8))
@settings(max_examples=40)
def test_with_feedback_a_state_that_went_through_changes_equals_one_made_anew(seed: int, widest: int, changes: list[int]) -> None:
    random = np.random.default_rng(seed)
    estate = calling_back(synthetic_estate(8, seed, style=STYLES[seed % 4], prior_scale=0.3), 0.3, random)
    network, evidence = estate.network, incident(estate, 2, random)[1].copy()
    state, names = BeliefState(network, evidence, CUT_OFTEN, PlanCache(widest=widest)), np.arange(len(network), dtype=np.int32)
    back = network.feedback
    for change in changes:
        strength, there = network.strength, np.ones(len(network.feedback), np.bool_)
        if change == 0:
            evidence[random.integers(evidence.size)] = random.choice([-2.0, 0.0, 3.0])
        elif change == 1:
            strength = np.where(random.random(strength.size) < 0.1, random.uniform(0.2, 0.9, strength.size), strength)
        elif change == 2:
            there = random.random(len(back)) < 0.7
        kept = back.only(there) if change == 2 else network.feedback
        if change == 3:
            kept = FeedbackLinks(kept.cause, kept.effect, kept.strength * random.uniform(0.5, 1.0, len(kept)))
        network = network_of(network.leak, network.parent, network.effect, strength, network.cluster, network.is_defect, kept)
        state.follow(network, evidence, names)
        state.settle()
    anew = BeliefState(network, evidence, CUT_OFTEN, PlanCache(widest=widest))
    assume(not state.unsettled.size and not anew.unsettled.size)
    np.testing.assert_allclose(state.probability, anew.probability, atol=2e-3)


def _new_link(network: CausalNetwork, random: np.random.Generator) -> tuple[int, int]:
    while True:
        cause, effect = np.sort(random.choice(len(network), 2, replace=False))
        cause, effect = int(network.order[cause]), int(network.order[effect])
        if not network.is_defect[effect] and cause not in network.parents(effect):
            return cause, effect


@given(st.integers(0, 20), st.integers(0, 3))
@settings(max_examples=15)
def test_following_another_network_equals_starting_from_it(seed: int, style: int) -> None:
    """Services come and go, numbers change; what stays keeps its messages."""
    random = np.random.default_rng(seed)
    before, after = (synthetic_estate(size, seed, style=STYLES[style], prior_scale=0.3) for size in (12, 13))
    state = BeliefState(before.network, incident(before, 2, random)[1], CUT_OFTEN)
    network, evidence = after.network, incident(after, 1, random)[1]
    carried = np.where(np.arange(len(network)) < 12 * 7, np.arange(len(network)), -1).astype(np.int32)
    state.follow(network, evidence, carried)
    state.settle()
    np.testing.assert_allclose(state.probability, BeliefState(network, evidence, CUT_OFTEN).probability, atol=2e-3)
    stays = np.arange(len(network), dtype=np.int32)
    weaker = network_of(network.leak, network.parent, network.effect, network.strength * 0.9, network.cluster, network.is_defect)
    state.follow(weaker, -evidence, stays)
    state.settle()
    np.testing.assert_allclose(state.probability, BeliefState(weaker, -evidence, CUT_OFTEN).probability, atol=2e-3)


@given(st.sampled_from(STYLES), st.integers(0, 20), st.lists(st.integers(0, 6), min_size=1, max_size=6), st.lists(st.integers(0, 4), max_size=4))
@settings(max_examples=20)
def test_a_state_that_was_put_on_disk_goes_on_to_the_byte(style: str, seed: int, before: list[int], after: list[int]) -> None:
    random = np.random.default_rng(seed)
    estate = synthetic_estate(12, seed, style=style, prior_scale=0.3)  # type: ignore[arg-type]  # one of STYLES
    known = _Estate(estate.network, incident(estate, 2, random)[1])
    state = BeliefState(known.network, known.evidence, plans=PlanCache(widest=4))
    for change in before:
        _change(state, known, change, random, alarm_ratio(estate, random.random(len(estate.network)) < 0.3))
    state.settle()
    memory = state_of(state_arrays(state.memory()))
    again = BeliefState(known.network, known.evidence, plans=PlanCache(widest=4), memory=memory)
    assert again.probability.tobytes() == state.probability.tobytes()
    for change in after:
        chance, ratios = int(random.integers(1 << 30)), alarm_ratio(estate, random.random(len(estate.network)) < 0.3)
        for each, its in ((state, replace(known, evidence=known.evidence.copy())), (again, known)):
            _change(each, its, change, np.random.default_rng(chance), ratios)
            each.settle()
        assert again.probability.tobytes() == state.probability.tobytes()
        assert [region.variables.tolist() for region in again.posteriors().parts.regions] == [
            region.variables.tolist() for region in state.posteriors().parts.regions
        ]


def test_a_memory_of_another_network_or_evidence_is_not_gone_on_from() -> None:
    network, other = causal_network(np.full(2, 0.1), [(0, 1, 0.5)]), causal_network(np.full(2, 0.1), [(0, 1, 0.6)])
    memory = BeliefState(network, np.array([0.0, 2.0])).memory()
    for of, evidence in ((other, np.array([0.0, 2.0])), (network, np.array([0.0, -2.0])), (causal_network(np.full(3, 0.1), []), np.zeros(3))):
        found = BeliefState(of, evidence, memory=memory)
        np.testing.assert_allclose(found.probability, enumerated(of, evidence)[0], atol=1e-5)


def test_evidence_that_is_not_a_number_leaves_a_state_that_follows_as_it_was() -> None:
    network, weaker = causal_network(np.full(2, 0.1), [(0, 1, 0.5)]), causal_network(np.full(2, 0.1), [(0, 1, 0.2)])
    state, stays = BeliefState(network, np.array([0.0, 2.0])), np.arange(2, dtype=np.int32)
    with pytest.raises(InvalidEvidenceError):
        state.follow(weaker, np.array([0.0, np.nan]), stays)
    state.follow(network, np.array([0.0, 3.0]), stays)
    state.settle()
    np.testing.assert_allclose(state.probability, enumerated(network, np.array([0.0, 3.0]))[0], atol=1e-5)


def test_a_change_of_feedback_alone_is_followed() -> None:
    problem = next(iter(cyclic_problems(1)))
    network = problem.network()
    back = network.feedback
    stays = np.arange(len(network), dtype=np.int32)
    state = BeliefState(network, problem.log_evidence)
    for share in (0.3, 1.0):
        changed = replace(network, feedback=FeedbackLinks(back.cause, back.effect, back.strength * share))
        state.follow(changed, problem.log_evidence, stays)
        state.settle()
        np.testing.assert_allclose(state.probability, BeliefState(changed, problem.log_evidence).probability, atol=1e-4)
    np.testing.assert_allclose(state.probability[: problem.roots], least_fixpoint_posteriors(problem)[: problem.roots], atol=1e-4)


def test_links_that_must_not_be_cut_join_regions() -> None:
    estate = synthetic_estate(30, 3, style=STYLES[0], prior_scale=0.3)
    network = estate.network
    state = BeliefState(network, incident(estate, 2, np.random.default_rng(3))[1], CUT_OFTEN)
    apart = np.flatnonzero(network.cluster[network.parent] != network.cluster[network.effect])[:2]
    regions = state.regions_with(network.parent[apart], network.effect[apart])
    for link in apart.tolist():
        assert any({network.parent[link], network.effect[link]} <= set(region.variables.tolist()) for region in regions)
    assert len({variable for region in regions for variable in region.variables.tolist()}) == sum(region.variables.size for region in regions)


def test_evidence_that_rules_out_every_world_is_told_and_taken_back() -> None:
    network = causal_network(np.array([0.3, 0.2, 0.0, 0.0]), [(0, 1, 0.5), (2, 3, 0.5)])
    evidence = np.array([0.0, 1.0, 0.0, 0.0])
    state = BeliefState(network, evidence)
    state.observe(np.array([3]), np.array([np.inf]))
    with pytest.raises(InconsistentEvidenceError) as trouble:
        state.settle()
    assert trouble.value.variables == [3]
    state.observe(np.array([3]), np.array([0.0]))
    state.settle()
    np.testing.assert_allclose(state.probability, enumerated(network, evidence)[0], atol=1e-5)


def test_a_link_that_would_close_a_cycle_is_refused() -> None:
    state = BeliefState(causal_network(np.full(3, 0.1), [(0, 1, 0.5), (1, 2, 0.5)]), np.zeros(3))
    with pytest.raises(InvalidNetworkError, match="would close a cycle"):
        state.connect(np.array([2], np.int32), np.array([0], np.int32), np.array([0.5]))


def test_a_strength_for_a_link_that_is_not_there_is_refused() -> None:
    state = BeliefState(causal_network(np.full(3, 0.1), [(0, 1, 0.5)]), np.zeros(3))
    with pytest.raises(InvalidNetworkError, match="use `connect`"):
        state.set_strengths(np.array([1], np.int32), np.array([2], np.int32), np.array([0.5]))


def test_evidence_that_is_not_a_number_is_refused() -> None:
    state = BeliefState(causal_network(np.full(2, 0.1), [(0, 1, 0.5)]), np.zeros(2))
    with pytest.raises(InvalidEvidenceError, match="not a number"):
        state.observe(np.array([1]), np.array([np.nan]))
