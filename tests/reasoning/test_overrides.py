"""overrides.yaml changes the priors and thresholds of the entities it selects, and of no others."""

from __future__ import annotations

from dataclasses import replace

from graph.live import LiveGraph
from graph.topology import EntityObservation, TopologyDelta
from reasoning.compile import compile_network
from reasoning.evidence.engine import EvidenceEngine
from reasoning.structure import Structure
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, Override, Selector
from schema.loader import load_knowledge
from schema.verdicts import DefectRef

ORDERS, ITEMS = (EntityRef("database", "c", "shop", name) for name in ("orders", "items"))


def overriding(*, name: str | None = None, labels: dict[str, str] | None = None) -> CausalKnowledge:
    override = Override("here:1", Selector("database", None, None, name, labels or {}), {"slow_query": 0.05}, {})
    return replace(load_knowledge(), overrides=(override,))


def priors(knowledge: CausalKnowledge) -> tuple[float, float]:
    graph = LiveGraph()
    seen = (EntityObservation(ORDERS, "example", 1, {"tier": "gold"}), EntityObservation(ITEMS, "example", 1, {}))
    graph.apply(TopologyDelta(1, seen, ()))
    compiled = compile_network(knowledge, graph, {})
    orders, items = (float(compiled.network.leak[compiled.index[DefectRef(ref, "slow_query")]]) for ref in (ORDERS, ITEMS))
    return orders, items


def test_a_prior_is_overridden_by_name_and_by_label_only_where_selected() -> None:
    usual = load_knowledge().kinds["database"].defects["slow_query"].prior_per_hour
    assert priors(load_knowledge()) == (usual, usual)
    assert priors(overriding(name="orders")) == (0.05, usual)
    assert priors(overriding(labels={"tier": "gold"})) == (0.05, usual)
    assert priors(overriding()) == (0.05, 0.05)


def test_a_threshold_is_overridden_only_where_selected() -> None:
    override = Override("here:1", Selector("database", None, None, "orders", {}), {}, {"lock_waits_high": 7.0})
    knowledge = replace(load_knowledge(), overrides=(override,))
    graph = LiveGraph()
    graph.apply(TopologyDelta(1, tuple(EntityObservation(ref, "example", 1, {}) for ref in (ORDERS, ITEMS)), ()))
    rule = knowledge.kinds["database"].conditions["lock_waits_high"]
    engine = EvidenceEngine(knowledge, graph)
    assert [engine._immaterial(graph.intern(ref), "lock_waits", rule) for ref in (ORDERS, ITEMS)] == [7.0, 0.5]


def test_an_override_follows_a_label_that_comes_later() -> None:
    graph = LiveGraph()
    knowledge = overriding(labels={"tier": "gold"})
    usual = knowledge.kinds["database"].defects["slow_query"].prior_per_hour
    graph.apply(TopologyDelta(1, (EntityObservation(ORDERS, "example", 1, {}), EntityObservation(ITEMS, "example", 1, {})), ()))
    structure = Structure(knowledge, graph)
    structure.follow()
    place = structure.index[DefectRef(ORDERS, "slow_query")]
    assert structure.leak[place] == usual
    for number in range(20):  # enough entities that one touched is followed, not all read anew
        other = EntityRef("database", "c", "shop", f"other-{number}")
        graph.apply(TopologyDelta(2, (EntityObservation(other, "example", 2, {}),), ()))
    structure.follow()
    graph.apply(TopologyDelta(3, (EntityObservation(ORDERS, "example", 3, {"tier": "gold"}),), ()))
    structure.follow()
    assert structure.leak[structure.index[DefectRef(ORDERS, "slow_query")]] == 0.05
