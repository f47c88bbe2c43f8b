"""Knowledge over a live graph: which variables and links, how strong, and what is renewed when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.live import LiveGraph
from graph.topology import RelationKey
from reasoning.compile import HOUR, LARGEST_PRIOR, CompiledNetwork, Name, NetworkCompiler, compile_network, naming
from reasoning.errors import InconsistentEvidenceError
from reasoning.inference import posteriors
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef
from schema.windows import Change, ChangeKind
from tests.reasoning.estates import CART, CHAIN, FRONT, ORDERS, ORDERS_DB, PODS, SLOW_QUERY, START, calls, estate, knowledge, latency, show

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
    assert compiled.feedback_names == ((latency(ORDERS), latency(CART)),)
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
