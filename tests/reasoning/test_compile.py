"""Knowledge over a live graph: which variables and links, how strong, and what is renewed when."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.live import MINUTE, LiveGraph
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from reasoning.compile import HOUR, CompiledNetwork, NetworkCompiler, compile_network, naming
from reasoning.errors import InconsistentEvidenceError
from reasoning.inference import posteriors
from reasoning.layout import LARGEST_PRIOR, Name
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, DefectRule, PropagationRule, Toward
from schema.strength import constant
from schema.verdicts import ConditionRef, DefectRef
from schema.windows import Change, ChangeKind
from tests.reasoning.estates import (
    CART,
    CHAIN,
    FRONT,
    ORDERS,
    ORDERS_DB,
    PODS,
    SECOND,
    SLOW_QUERY,
    START,
    calls,
    estate,
    feedback_names,
    knowledge,
    latency,
    show,
)

RULES = knowledge()


def strength(compiled: CompiledNetwork, cause: Name, effect: Name) -> float:
    """The strength of a solved link, 0 where there is none."""
    network = compiled.network
    found = network.strength[(network.parent == compiled.index[cause]) & (network.effect == compiled.index[effect])]
    return float(found[0]) if found.size else 0.0


def prior(compiled: CompiledNetwork, name: Name) -> float:
    return float(compiled.network.leak[compiled.index[name]])


def test_every_entity_of_a_known_kind_has_its_conditions_and_defects() -> None:
    compiled = compile_network(RULES, estate([*CHAIN, RelationKey(FRONT, "calls", EntityRef("teapot", "", "", "t"))]), {})
    assert {name.entity for name in compiled.names} == {FRONT, CART, ORDERS, ORDERS_DB}
    assert len(compiled.names) == 3 * 3 + 2
    assert all(compiled.names[place] == name for name, place in compiled.index.items())
    assert prior(compiled, SLOW_QUERY) == 0.002
    assert prior(compiled, ConditionRef(CART, "own_time_high")) == 0.0005


def test_a_strength_follows_traffic_where_it_is_known() -> None:
    compiled = compile_network(RULES, estate(), {calls(FRONT, CART): {"share_of_latency_excess": 0.5}, calls(CART, ORDERS): {"synchronous": 1.0}})
    assert strength(compiled, latency(CART), latency(FRONT)) == pytest.approx(0.49)
    assert strength(compiled, latency(ORDERS), latency(CART)) == pytest.approx(0.35)
    assert strength(compiled, latency(FRONT), latency(CART)) == 0.0


def test_doubt_about_a_relation_weakens_what_travels_it() -> None:
    compiled = compile_network(RULES, estate(confidence=0.5), {calls(FRONT, CART): {"share_of_latency_excess": 1.0}})
    assert strength(compiled, latency(CART), latency(FRONT)) == pytest.approx(0.49)


def test_a_share_of_members_counts_the_relations_of_its_kind() -> None:
    compiled = compile_network(RULES, estate([calls(CART, pod) for pod in PODS]), {})
    assert strength(compiled, ConditionRef(PODS[0], "cpu_use_high"), ConditionRef(CART, "own_time_high")) == pytest.approx(0.5)
    assert strength(compiled, DefectRef(CART, "slow_code"), ConditionRef(PODS[0], "cpu_use_high")) == pytest.approx(0.3)


def test_the_structure_stands_until_the_graph_changes_but_strengths_are_of_the_window() -> None:
    graph = estate()
    compiler = NetworkCompiler(RULES, graph)
    first = compiler.compile({})
    second = compiler.compile({calls(FRONT, CART): {"share_of_latency_excess": 1.0}})
    assert second.names is first.names
    assert strength(first, latency(CART), latency(FRONT)) == pytest.approx(0.35)
    assert strength(second, latency(CART), latency(FRONT)) == pytest.approx(0.98)
    assert strength(compiler.compile({}), latency(CART), latency(FRONT)) == pytest.approx(0.35)
    show(graph, [calls(CART, PODS[0])], at=START)
    assert ConditionRef(PODS[0], "cpu_use_high") in compiler.compile({}).index


def test_a_variable_is_told_what_it_was_called_before() -> None:
    graph = estate()
    compiler = NetworkCompiler(RULES, graph)
    first = compiler.compile({})
    assert compiler.compile({}).carried_from(first).tolist() == list(range(len(first.names)))
    show(graph, [calls(CART, PODS[0])], at=START)
    later = compiler.compile({})
    carried = later.carried_from(first)
    assert [first.names[place] if place >= 0 else None for place in carried] == [name if name.entity != PODS[0] else None for name in later.names]


@given(st.permutations([*CHAIN, *(calls(CART, pod) for pod in PODS), calls(ORDERS, FRONT)]))
def test_the_order_in_which_the_estate_was_seen_leaves_no_trace(relations: list[RelationKey]) -> None:
    reference = compile_network(RULES, estate([*CHAIN, *(calls(CART, pod) for pod in PODS), calls(ORDERS, FRONT)]), {})
    graph = LiveGraph()
    for key in relations:
        show(graph, [key], at=START)
    compiled = compile_network(RULES, graph, {})
    assert compiled.names == reference.names
    assert compiled.network.strength.tobytes() == reference.network.strength.tobytes()
    evidence = np.where(reference.is_defect, 0.0, 2.0)
    assert posteriors(compiled.network, evidence).probability.tobytes() == posteriors(reference.network, evidence).probability.tobytes()


def test_of_services_that_call_in_a_ring_the_weakest_way_is_feedback() -> None:
    ring = [calls(FRONT, CART), calls(CART, ORDERS), calls(ORDERS, FRONT)]
    live = {ring[0]: {"share_of_latency_excess": 0.9}, ring[1]: {"share_of_latency_excess": 0.2}, ring[2]: {"share_of_latency_excess": 0.8}}
    compiled = compile_network(RULES, estate(ring), live)
    assert feedback_names(compiled) == ((latency(ORDERS), latency(CART)),)
    assert strength(compiled, latency(CART), latency(FRONT)) == pytest.approx(0.98 * 0.9)


def test_a_way_that_is_ruled_out_gives_its_place_in_a_ring_to_the_others() -> None:
    pair = [calls(FRONT, CART), calls(CART, FRONT)]
    live = {pair[0]: {"share_of_latency_excess": 0.9}, pair[1]: {"share_of_latency_excess": 0.2}}
    compiled = compile_network(RULES, estate(pair), live)
    assert strength(compiled, latency(FRONT), latency(CART)) == 0.0
    forbidden = (compiled.cause == compiled.index[latency(CART)]) & (compiled.effect == compiled.index[latency(FRONT)])
    assert strength(compiled.without(forbidden), latency(CART), latency(FRONT)) == 0.0
    assert strength(compiled.without(forbidden), latency(FRONT), latency(CART)) == pytest.approx(0.98 * 0.2)


def test_a_deploy_raises_the_priors_it_can_and_fades_over_an_hour() -> None:
    graph = estate()
    entity = graph.find(CART)
    assert entity is not None
    compiler = NetworkCompiler(RULES, graph)
    defect = DefectRef(CART, "slow_code")
    deploy = Change(START, entity, ChangeKind.DEPLOY, "1 -> 2")
    assert prior(compiler.compile({}, [deploy]), defect) == pytest.approx(min(0.001 * 60.0, LARGEST_PRIOR))
    assert prior(compiler.compile({}, [deploy]), SLOW_QUERY) == 0.002
    hour_ago = Change(START - HOUR, entity, ChangeKind.DEPLOY, "1 -> 2")
    assert prior(compiler.compile({}, [hour_ago]), defect) == pytest.approx(0.001 * 60.0 ** np.exp(-1.0))
    assert prior(compiler.compile({}), defect) == 0.001


def test_findings_no_world_agrees_with_are_named() -> None:
    compiled = compile_network(RULES, estate(), {})
    with pytest.raises(InconsistentEvidenceError, match="latency_high of service:c/shop/front"), naming(compiled):
        raise InconsistentEvidenceError([compiled.index[latency(FRONT)]])


@dataclass(slots=True)
class _Edits:
    """Random life of a small estate: entities and relations come, go, prove older or surer; traffic and changes come and go."""

    graph: LiveGraph
    random: np.random.Generator
    live: dict[RelationKey, dict[str, float]]
    changes: list[Change]
    at: int = START

    def happen(self, what: int) -> None:
        random = self.random
        if what <= 2:
            source, kind, target = EVERYTHING[random.integers(len(EVERYTHING))]
            key = RelationKey(source, kind, target)
            self._see(key, self.at + int(random.choice([-HOUR, 0, 0, 400 * SECOND])), float(random.choice([0.5, 0.9])))
        elif what == 3:
            self.at += 16 * MINUTE * int(random.choice([1, 100]))
            self.graph.expire(self.at)
        elif what == 4:
            known = [relation.key for relation in self.graph.relations()]
            self.live = {key: {"share_of_latency_excess": float(random.choice([0.1, 0.8]))} for key in known if random.random() < 0.7}
        elif what == 5:
            entity = self.graph.intern(EVERYTHING[random.integers(len(EVERYTHING))][0])
            self.changes.append(Change(self.at - int(random.integers(HOUR)), entity, ChangeKind.DEPLOY, ""))
        elif what == 6:
            self.graph.restore(self.graph.snapshot())
        else:
            key = RelationKey(*EVERYTHING[random.integers(len(EVERYTHING))])
            self.graph.apply(TopologyDelta(self.at, (EntityObservation(key.target, "test", self.at - int(random.integers(HOUR)), {}),), ()))

    def _see(self, key: RelationKey, time: int, confidence: float) -> None:
        self.graph.apply(TopologyDelta(self.at, (), (RelationObservation(key, f"test {confidence}", time, confidence),)))


SERVICES = (FRONT, CART, ORDERS)
EVERYTHING = [
    *((one, kind, other) for one in SERVICES for other in SERVICES for kind in ("calls", "mirrors")),
    *((one, "queries", ORDERS_DB) for one in SERVICES),
    *((one, "runs_on", pod) for one in SERVICES for pod in PODS),
    (EntityRef("teapot", "", "", "t"), "calls", FRONT),
    (FRONT, "calls", EntityRef("teapot", "", "", "t")),
]


def mirrored() -> CausalKnowledge:
    """Two relations may carry the same effect; some defects depend on what relations there are; a cause may be a defect elsewhere."""
    rules = knowledge()
    mirrors = PropagationRule("mirrors", Toward.SOURCE, "service", "latency_high", "service", "latency_high", constant(0.2))
    service = rules.kinds["service"]
    defects = {
        **service.defects,
        "flooded": DefectRule("flooded", "", 0.01, {}, (), "test", only_without="calls"),
        "greedy": DefectRule("greedy", "", 0.01, {"deploy": 3.0}, (), "test", only_with="queries"),
    }
    return replace(rules, kinds={**rules.kinds, "service": replace(service, defects=defects)}, propagation=(*rules.propagation, mirrors))


@given(st.integers(0, 10**6), st.lists(st.integers(0, 7), min_size=1, max_size=25))
@settings(max_examples=150)
def test_what_was_followed_change_by_change_is_what_is_read_at_once(seed: int, steps: list[int]) -> None:
    rules = mirrored()
    life = _Edits(LiveGraph(), np.random.default_rng(seed), {}, [])
    compiler = NetworkCompiler(rules, life.graph)
    last = compiler.compile({})
    for step in steps:
        life.happen(step)
        found, anew = compiler.compile(life.live, life.changes), compile_network(rules, life.graph, life.live, life.changes)
        assert found.names == anew.names
        for name in ("leak", "cluster", "is_defect", "cause", "effect", "strength", "since", "feedback", "entity"):
            assert getattr(found, name).tobytes() == getattr(anew, name).tobytes(), name
        for name in ("parent_ptr", "parent", "strength", "effect", "child_ptr", "child_link", "order", "leak", "cluster"):
            assert getattr(found.network, name).tobytes() == getattr(anew.network, name).tobytes(), name
        assert [found.index[name] for name in found.names] == list(range(len(found.names)))
        carried = found.carried_from(last)
        assert [last.names[place] if place >= 0 else None for place in carried] == [name if name in last.index else None for name in found.names]
        last = found


def test_what_did_not_change_is_the_same_object() -> None:
    graph = estate()
    compiler = NetworkCompiler(RULES, graph)
    live = {calls(FRONT, CART): {"share_of_latency_excess": 0.5}}
    first = compiler.compile(live)
    again = compiler.compile({key: dict(values) for key, values in live.items()})
    assert all(getattr(again, name) is getattr(first, name) for name in ("names", "leak", "cause", "effect", "strength", "cluster", "since"))
    assert again.network.child_link is first.network.child_link
    show(graph, CHAIN[:1], at=START, confidence=0.2)
    assert compiler.compile(live).names is first.names
    show(graph, [calls(FRONT, ORDERS)], at=START)
    assert compiler.compile(live).names is first.names


def test_arrays_handed_out_stay_as_they_were() -> None:
    graph = estate()
    compiler = NetworkCompiler(RULES, graph)
    first = compiler.compile({})
    before = first.strength.copy(), first.since.copy(), first.leak.copy()
    show(graph, CHAIN, at=START - HOUR, confidence=0.2)
    compiler.compile({key: {"share_of_latency_excess": 0.9} for key in CHAIN})
    assert all((old == now).all() for old, now in zip(before, (first.strength, first.since, first.leak), strict=True))
