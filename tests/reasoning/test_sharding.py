"""Shards believe what one process believes, whatever happens to what they say to each other, and tell what found no rest."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.estates import SERVICE, STYLES, Style, SyntheticEstate, alarm_ratio, incident, synthetic_estate
from reasoning.belief import BeliefState
from reasoning.belief_arrays import state_arrays, state_of
from reasoning.cluster_messages import no_messages, scratch, work_list
from reasoning.cluster_propagation import settle_within
from reasoning.clusters import cluster_network
from reasoning.core_solver import BeliefSettings
from reasoning.network import network_of
from reasoning.reasoner import ReasonerSettings
from reasoning.sharding.parts import cut_part
from reasoning.sharding.protocol import Batch
from reasoning.sharding.runner import ShardRunner
from reasoning.sharding.shard import LocalShard
from schema.batches import Float64
from schema.loader import load_knowledge
from tests.reasoning.test_belief_store import Process
from tests.reasoning.test_evidence_engine import BACK, FRONT

ROUGH, FINE = BeliefSettings(tolerance=1e-2, influence=1e-3), BeliefSettings(tolerance=1e-3, influence=1e-4)
PRIORS = 0.05  # an estate that is mostly healthy
REACH = {ROUGH: 3e-3, FINE: 5e-4}  # of a root's posterior


def _estate(services: int, style: Style, seed: int) -> tuple[SyntheticEstate, Float64]:
    estate = synthetic_estate(services, seed, style=style, prior_scale=PRIORS)
    return estate, incident(estate, 3, np.random.default_rng(seed), alarms=5)[1]


def _sharded(estate: SyntheticEstate, evidence: Float64, how: BeliefSettings, shards: int) -> tuple[BeliefState, ShardRunner]:
    runner = ShardRunner(shards, how.tolerance)
    return BeliefState(estate.network, evidence, how, propagation=runner), runner


def _differ(one: BeliefState, other: BeliefState, estate: SyntheticEstate) -> float:
    return float(np.abs(one.probability - other.probability)[estate.network.is_defect].max())


@pytest.mark.parametrize("how", [ROUGH, FINE], ids=["rough", "fine"])
@pytest.mark.parametrize("style", STYLES)
def test_shards_equal_one_cold_after_flips_and_after_edits(style: Style, how: BeliefSettings) -> None:
    _compare(300, style, how, (2, 8))


@pytest.mark.slow
@pytest.mark.parametrize("how", [ROUGH, FINE], ids=["rough", "fine"])
@pytest.mark.parametrize("services", [1_000, 10_000])
def test_shards_equal_one_on_large_estates(services: int, how: BeliefSettings) -> None:
    _compare(services, "power_law", how, (2, 4, 8))


def _compare(services: int, style: Style, how: BeliefSettings, counts: Sequence[int]) -> None:
    estate, evidence = _estate(services, style, 1)
    one = BeliefState(estate.network, evidence, how)
    many = [_sharded(estate, evidence, how, count)[0] for count in counts]
    states = [one, *many]
    random = np.random.default_rng(7)
    for step in range(6):
        if step:
            _change(states, estate, evidence, step, random)
        for state in states:
            state.settle()
        for state in many:
            assert _differ(one, state, estate) <= REACH[how]


def _change(states: Sequence[BeliefState], estate: SyntheticEstate, evidence: Float64, step: int, random: np.random.Generator) -> None:
    """A symptom flips; every third time strengths, leaks or calls change."""
    network = estate.network
    variable = random.choice(np.flatnonzero(estate.is_read), 2)
    ratio = alarm_ratio(estate, evidence <= 0.0)[variable]
    links = random.choice(network.strength.size, 3, replace=False)
    strength = random.uniform(0.1, 0.9, 3)
    size, services = len(SERVICE.variables), int((network.cluster.max() + 1) / 2)
    caller, callee = size * np.sort(random.choice(services, 2, replace=False))
    slow = SERVICE.place("slow")
    for state in states:
        state.observe(variable, ratio)
        if step == 3:
            state.set_strengths(network.parent[links], network.effect[links], strength)
            state.set_leaks(variable[:1], np.array([0.05]))
        elif step == 4:
            state.connect(np.array([callee + slow], np.int32), np.array([caller + slow], np.int32), np.array([0.6]))


def test_another_network_is_followed_and_what_stays_keeps_its_shard() -> None:
    before, evidence = _estate(60, "power_law", 3)
    after, later = _estate(66, "power_law", 3)
    carried = np.where(np.arange(len(after.network)) < 60 * len(SERVICE.variables), np.arange(len(after.network)), -1).astype(np.int32)
    one = BeliefState(after.network, later, FINE)
    many, runner = _sharded(before, evidence, FINE, 4)
    owner = runner.owner_of_variable.copy()
    many.follow(after.network, later, carried)
    many.settle()
    stays = carried >= 0
    np.testing.assert_array_equal(runner.owner_of_variable[stays], owner[carried[stays]])
    assert _differ(one, many, after) <= 5e-4


def test_what_belongs_together_shares_a_shard() -> None:
    estate, evidence = _estate(60, "power_law", 3)
    runner = ShardRunner(4, FINE.tolerance, lambda network: (network.cluster // 3).astype(np.int32))
    BeliefState(estate.network, evidence, FINE, propagation=runner)
    for each in np.unique(estate.network.cluster // 3):
        assert np.unique(runner.owner_of_variable[estate.network.cluster // 3 == each]).size == 1


def test_a_reasoner_on_shards_says_what_one_without_says_and_goes_on_after_a_restart() -> None:
    knowledge = load_knowledge()
    alone, sharded = Process(knowledge), Process(knowledge, ReasonerSettings(shards=3))
    for number in range(1, 24):
        if number == 22:
            sharded = sharded.restarted()
        said, other = (each.live(number, "slow query" if number > 18 else "none") for each in (alone, sharded))
        believed, expected = ({cause.cause: cause.probability for cause in found.root_causes} for found in (other, said))
        for cause, probability in expected.items():
            assert believed.get(cause, 0.0) == pytest.approx(probability, abs=1e-3)
    assert said.root_causes


class _Mail:
    """A post that shuffles, repeats and delays by chance, and hands over everything in the end."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._held: list[Batch] = []
        self._past: list[Batch] = []

    def __call__(self, sent: Sequence[Batch]) -> Sequence[Batch]:
        self._past.extend(sent)
        self._held.extend(sent)
        self._random.shuffle(self._held)
        count = int(self._random.integers(len(self._held) + 1)) if sent else len(self._held)
        arrives, self._held = self._held[:count], self._held[count:]
        again = [batch for batch in self._past if self._random.random() < 0.05] if sent else []
        return [*arrives, *again]


@given(st.integers(0, 1_000), st.sampled_from(STYLES), st.sampled_from([2, 4, 8]))
@settings(max_examples=15)
def test_order_delay_and_repetition_of_what_is_said_do_not_matter(seed: int, style: Style, shards: int) -> None:
    estate, evidence = _estate(60, style, seed % 5)
    random = np.random.default_rng(seed)
    known = BeliefState(estate.network, evidence, FINE)
    runner = ShardRunner(shards, FINE.tolerance, carry=_Mail(random))
    state = BeliefState(estate.network, evidence, FINE, propagation=runner)
    assert _differ(known, state, estate) <= 1e-3
    variable = random.choice(np.flatnonzero(estate.is_read), 3)
    for each in (known, state):
        each.observe(variable, alarm_ratio(estate, evidence <= 0.0)[variable])
        each.settle()
    assert _differ(known, state, estate) <= 1e-3


@pytest.mark.parametrize("lost", range(4))
def test_a_shard_that_lost_its_memory_learns_it_from_its_neighbours(lost: int) -> None:
    estate, evidence = _estate(300, "power_law", 2)
    state, runner = _sharded(estate, evidence, FINE, 4)
    before = state.probability.copy()
    runner.lose(lost)
    state.settle()
    assert np.abs(state.probability - before)[estate.network.is_defect].max() <= 1e-3
    variable = np.flatnonzero(estate.is_read & (evidence > 0.0))[:1]
    known = BeliefState(estate.network, evidence, FINE)
    for each in (known, state):
        each.observe(variable, np.zeros(1))
        each.settle()
    assert _differ(known, state, estate) <= 1e-3


def _two_shards() -> tuple[LocalShard, LocalShard]:
    """A cause in one, its effect in the other."""
    links = np.array([0], np.int32), np.array([1], np.int32), np.array([0.9])
    network = network_of(np.array([0.1, 0.01]), *links, np.arange(2, dtype=np.int32), np.array([True, False]))
    clusters = cluster_network(network)
    messages = no_messages(clusters, np.array([0.0, 3.0]))
    above, below = (LocalShard(cut_part(clusters, messages, np.arange(2, dtype=np.int32), number, 1), 1e-6) for number in range(2))
    for shard in (above, below):
        shard.start(np.array([0, 1], np.int32))
    return above, below


def test_what_was_said_last_counts_whatever_arrives_last() -> None:
    above, below = _two_shards()
    (first,) = above.work()
    (answer,) = below.work()
    above.receive(answer)
    above.work()
    later = above.latest(1)
    assert later.sequence > first.sequence
    for batch in (later, first, later):
        below.receive(batch)
    below.work()
    once = _two_shards()[1]
    once.receive(later)
    once.work()
    np.testing.assert_allclose(below.rest().belief, once.rest().belief, atol=1e-6)


def test_what_was_said_of_another_structure_is_void() -> None:
    above, below = _two_shards()
    (batch,) = above.work()
    below.work()
    before = below.rest().belief
    below.receive(Batch(batch.sender, batch.receiver, 0, batch.sequence, batch.down, batch.log_phi, batch.up, batch.log_lambda, batch.gain))
    below.work()
    assert below.rest().clusters.size == 0
    below.receive(batch)
    below.work()
    assert (below.rest().belief > before).all()


def test_all_that_travels_can_be_pickled() -> None:
    above, below = _two_shards()
    (batch,) = above.work()
    below.receive(pickle.loads(pickle.dumps(batch)))
    assert pickle.loads(pickle.dumps(below.latest(0))).receiver == 0
    report = pickle.loads(pickle.dumps(above.rest()))
    assert report.variables.tolist() == [0]


def test_shards_cut_a_core_that_is_too_wide_as_one_does() -> None:
    """One net in which a core of half the estate was cut elsewhere, for what was left of the way to rest: .0054 of a root."""
    estate, evidence = _estate(300, "layered", 0)
    one = BeliefState(estate.network, evidence, ROUGH)
    many = _sharded(estate, evidence, ROUGH, 2)[0]
    assert max(region.variables.size for region in one.posteriors().parts.regions) > 500
    for flip in range(20):
        variable = np.random.default_rng(flip // 2).choice(np.flatnonzero(estate.is_read), 1)
        ratio = evidence[variable] if flip % 2 else alarm_ratio(estate, evidence <= 0.0)[variable]
        for state in (one, many):
            state.observe(variable, ratio)
            state.settle()
        assert _differ(one, many, estate) <= 5e-4


def test_settling_some_clusters_moves_no_others() -> None:
    estate, evidence = _estate(60, "power_law", 1)
    state = BeliefState(estate.network, evidence, ROUGH)
    clusters, messages = state._clusters, state._messages
    count = clusters.first_in.size
    chosen, work = np.arange(0, count, 2, dtype=np.int32), work_list(count)
    others = np.ones(count, np.bool_)
    others[chosen] = False
    before = messages.belief.copy()
    settle_within(clusters, messages, work, scratch(), chosen, 1e-4)
    np.testing.assert_array_equal(messages.belief[others[clusters.cluster]], before[others[clusters.cluster]])
    assert (messages.belief != before).any()
    assert (messages.moved[chosen] <= 1e-4).all()
    assert not work.waiting.any()
    assert not messages.visits.any()


RESTLESS = BeliefSettings(tolerance=0.0, influence=1e-3)  # no message comes to rest by a tolerance of nothing: float32 rounds back and forth


@pytest.mark.parametrize("shards", [1, 2])
def test_what_finds_no_rest_is_named_until_it_does(shards: int) -> None:
    estate, evidence = _estate(60, "power_law", 1)
    network = estate.network
    state = BeliefState(network, evidence, RESTLESS, propagation=ShardRunner(shards, 0.0) if shards > 1 else None)
    named = state.unsettled
    assert 0 < named.size < len(network)
    assert (np.diff(named) > 0).all()
    state.settle()
    np.testing.assert_array_equal(state.unsettled, named)
    kept = state_of(state_arrays(state.memory()))
    recalled = BeliefState(network, evidence, RESTLESS, memory=kept, propagation=ShardRunner(shards, 0.0) if shards > 1 else None)
    np.testing.assert_array_equal(recalled.unsettled, named)
    later = np.concatenate(([-1], np.arange(len(network)))).astype(np.int32)  # an entity of one variable stands before all others now
    more = network_of(
        np.append(0.1, network.leak),
        network.parent + 1,
        network.effect + 1,
        network.strength,
        np.append(0, network.cluster + 1).astype(np.int32),
        np.append(True, network.is_defect),
    )
    state.follow(more, np.append(0.0, evidence), later)
    np.testing.assert_array_equal(state.unsettled, named + 1)
    state.settle()
    np.testing.assert_array_equal(state.unsettled, named + 1)
    state.follow(more, np.zeros(len(more)), np.arange(len(more), dtype=np.int32))
    state.settle()
    assert not np.isin(np.flatnonzero(np.append(0.0, evidence)), state.unsettled).any()


def test_a_reasoner_names_the_entities_that_find_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(load_knowledge())
    process.live(1, "none")
    assert not process.reasoner.unsettled
    of_back, of_front = (
        [place for place, name in enumerate(process.reasoner.named_network().names) if name.startswith(f"{entity}.")] for entity in (BACK, FRONT)
    )
    monkeypatch.setattr(BeliefState, "unsettled", np.array(sorted([*of_back, of_front[0]]), np.int32))
    process.live(2, "none")
    assert process.reasoner.unsettled == (BACK, FRONT)
