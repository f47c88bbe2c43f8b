"""Belief under a structure that changes: what stays is kept, what comes and goes leaves no trace, and no cycle gets in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.estates import STYLES, incident, synthetic_estate
from reasoning.belief import BeliefState
from reasoning.causal_order import make_way, positions
from reasoning.clusters import cluster_network
from reasoning.core_solver import BeliefSettings
from reasoning.cycles import components
from reasoning.errors import InvalidNetworkError
from reasoning.network import Bool, CausalNetwork, FeedbackLinks, causal_network, network_of
from reasoning.regions import PlanCache
from schema.batches import Int64
from tests.reasoning.networks import enumerated

CUT_OFTEN = BeliefSettings(tolerance=1e-6, influence=1e-3, most_uncut=0)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=1, max_size=8), st.sampled_from([2, 4, 16]))
@settings(max_examples=40)
def test_entities_and_links_that_come_and_go_leave_no_trace(seed: int, steps: list[int], widest: int) -> None:
    """Each time all but a few entities and links stay, under other numbers; what is believed then equals a state made anew."""
    random = np.random.default_rng(seed)
    whole = synthetic_estate(14, seed % 97, style=STYLES[seed % 4], prior_scale=0.3)
    ratios = incident(whole, 2, random)[1].copy()
    there, links = np.ones(int(whole.network.cluster.max()) + 1, np.bool_), np.ones(whole.network.strength.size, np.bool_)
    network, names = _part(whole.network, there, links)
    state = BeliefState(network, ratios[names], CUT_OFTEN, PlanCache(widest=widest))
    for step in steps:
        if step in {0, 3}:
            there[random.choice(there.size, 1 + step // 2, replace=False)] ^= True
        if step in {1, 3}:
            links[random.choice(links.size, 1 + step // 2, replace=False)] ^= True
        if step == 2:
            ratios[random.integers(ratios.size)] = random.choice([-2.0, 0.0, 3.0])
        place = np.full(len(whole.network), -1, np.int32)
        place[names] = np.arange(names.size)
        network, names = _part(whole.network, there, links)
        state.follow(network, ratios[names], place[names])
        if random.random() < 0.7:
            state.settle()
    state.settle()
    anew = BeliefState(network, ratios[names], CUT_OFTEN, PlanCache(widest=widest))
    assume(not state.unsettled.size and not anew.unsettled.size)  # what found no rest is reported instead
    np.testing.assert_allclose(state.probability, anew.probability, atol=2e-3)


def _part(network: CausalNetwork, there: Bool, links: Bool) -> tuple[CausalNetwork, Int64]:
    """Some entities, and of the links among them some; and what their variables are called in the whole."""
    names = np.flatnonzero(there[network.cluster])
    number = np.full(len(network), -1, np.int32)
    number[names] = np.arange(names.size)
    kept = links & (number[network.parent] >= 0) & (number[network.effect] >= 0)
    entity = np.unique(network.cluster[names], return_inverse=True)[1].astype(np.int32)
    ends = number[network.parent[kept]], number[network.effect[kept]]
    return network_of(network.leak[names], *ends, network.strength[kept], entity, network.is_defect[names]), names


def test_a_part_that_nothing_new_reaches_is_not_solved_again() -> None:
    leak = np.full(4, 0.1)
    state = BeliefState(causal_network(leak, [(0, 1, 0.5), (2, 3, 0.5)]), np.array([0.0, 2.0, 0.0, 2.0]))
    before = {int(region.variables[0]): region for region in state.posteriors().parts.regions}
    more = causal_network(np.full(5, 0.1), [(1, 2, 0.5), (3, 4, 0.5), (3, 0, 0.9)])
    state.follow(more, np.array([1.0, 0.0, 2.0, 0.0, 2.0]), np.array([-1, 0, 1, 2, 3], np.int32))
    state.settle()
    np.testing.assert_allclose(state.probability, enumerated(more, np.array([1.0, 0.0, 2.0, 0.0, 2.0]))[0], atol=1e-5)
    after = {tuple(region.variables.tolist()): region for region in state.posteriors().parts.regions}
    assert after[1, 2].log_evidence is before[0].log_evidence
    assert all(region.log_evidence is not before[2].log_evidence for region in after.values())


def test_feedback_that_changes_with_the_structure_is_followed() -> None:
    leak, evidence = np.full(4, 0.1), np.array([0.0, 2.0, 0.0, 0.0])
    links = np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.array([0.5, 0.5])
    marks = np.arange(4, dtype=np.int32), np.zeros(4, np.bool_)
    plain = network_of(leak, *links, *marks)
    state = BeliefState(plain, evidence)
    more = network_of(leak, np.append(links[0], 2).astype(np.int32), np.append(links[1], 3).astype(np.int32), np.append(links[2], 0.4), *marks)
    looped = network_of(
        more.leak, more.parent, more.effect, more.strength, *marks, FeedbackLinks(np.array([2], np.int32), np.array([1], np.int32), np.array([0.9]))
    )
    state.follow(looped, evidence, np.arange(4, dtype=np.int32))
    state.settle()
    np.testing.assert_allclose(state.probability, BeliefState(looped, evidence).probability, atol=1e-5)
    assert abs(state.probability - BeliefState(more, evidence).probability).max() > 0.01


def test_links_that_only_together_close_a_cycle_are_refused() -> None:
    state = BeliefState(causal_network(np.full(4, 0.1), [(0, 1, 0.5), (2, 3, 0.5)]), np.zeros(4))
    with pytest.raises(InvalidNetworkError, match="would close a cycle"):
        state.connect(np.array([3, 1], np.int32), np.array([0, 2], np.int32), np.array([0.5, 0.5]))
    state.connect(np.array([3], np.int32), np.array([0], np.int32), np.array([0.5]))
    with pytest.raises(InvalidNetworkError, match="Variable 2 is a cause of variable 1"):
        state.connect(np.array([1], np.int32), np.array([2], np.int32), np.array([0.5]))


def test_a_strength_may_follow_a_new_structure_before_it_has_settled() -> None:
    whole = causal_network(np.full(4, 0.1), [(0, 1, 0.5), (1, 3, 0.5), (0, 2, 0.3)])
    entity, evidence = np.array([0, 0, 0, 1], np.int32), np.array([0.0, 0.0, 0.0, 2.0])
    state = BeliefState(network_of(whole.leak, whole.parent, whole.effect, whole.strength, entity, whole.is_defect), evidence)
    state.connect(np.array([2, 2], np.int32), np.array([1, 3], np.int32), np.array([0.4, 0.6]))
    state.set_strengths(np.array([2], np.int32), np.array([3], np.int32), np.array([0.2]))
    state.settle()
    wanted = causal_network(np.full(4, 0.1), [(0, 1, 0.5), (1, 3, 0.5), (0, 2, 0.3), (2, 1, 0.4), (2, 3, 0.2)])
    np.testing.assert_allclose(state.probability, enumerated(wanted, evidence)[0], atol=1e-5)


@given(st.integers(2, 9), st.data())
def test_a_link_is_let_in_unless_it_closes_a_cycle_and_the_order_stays_causal(count: int, data: st.DataObject) -> None:
    """Against strongly connected components."""
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    links = [(min(pair), max(pair), 0.5) for pair in data.draw(st.lists(ends, max_size=12)) if pair[0] != pair[1]]
    network = causal_network(np.full(count, 0.1), links)
    clusters, position, mark = cluster_network(network), positions(network.order), np.full(count, -1, np.int32)
    new = [np.array(side, np.int32) for side in zip(*data.draw(st.lists(ends, min_size=1, max_size=5)), strict=True)]
    refused = make_way(clusters, position, new[0], new[1], mark)
    let_in = new[0].size if refused < 0 else refused
    cause, effect = np.append(network.parent, new[0][:let_in]), np.append(network.effect, new[1][:let_in])
    assert (position[cause] < position[effect]).all()
    assert sorted(position.tolist()) == list(range(count))
    assert (mark == -1).all()
    if refused >= 0:
        component = components(count, np.append(cause, new[0][refused]).astype(np.int32), np.append(effect, new[1][refused]).astype(np.int32))
        assert component[new[0][refused]] == component[new[1][refused]]
