"""The model of attributes, against the rules and against the causal network that inference solves."""

from __future__ import annotations

from graph.attribute_model import AttributeModel
from graph.attributes import Dependency
from graph.live import LiveGraph
from graph.topology import RelationKey
from reasoning.compile import compile_network
from schema.attributes import ATTRIBUTES
from schema.detectors import DETECTORS, READS
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import ConditionRef, DefectRef
from tests.reasoning.estates import estate

CART, CHECKOUT = EntityRef("service", "c", "shop", "cart"), EntityRef("service", "c", "shop", "checkout")


def test_every_detector_reads_an_attribute() -> None:
    assert READS.keys() <= DETECTORS.keys()
    for kind in load_knowledge(None).kinds.values():
        for rule in kind.conditions.values():
            assert not rule.detector or rule.detector in READS or rule.attribute in ATTRIBUTES, f"{kind.kind}.{rule.name}"


def test_conditions_of_one_attribute_are_read_from_one_and_hidden_ones_are_attributes_that_nothing_measures() -> None:
    told = AttributeModel(load_knowledge(None)).of_entity(CART)
    assert told is not None
    by_name = {each.name: each for each in told.attributes}
    assert by_name["request_rate"].conditions == ("demand_high", "demand_low")
    assert by_name["latency"].unit == "s"
    assert [each.name for each in told.attributes if not each.measured] == ["work_failing", "work_slow"]


def test_what_the_caller_reads_depends_on_the_callee_with_the_rule_that_says_so() -> None:
    over = AttributeModel(load_knowledge(None)).of_relation(RelationKey(CHECKOUT, "calls", CART))
    assert over is not None
    waits = next(each for each in over.of_source if (each.effect, each.cause) == ("latency", "latency"))
    assert waits == Dependency("latency", "latency", 0.35, ("latency_high -> latency_high: 0.98 * share_of_latency_excess * min(1, 2 * latency_growth)",))
    assert {(each.effect, each.cause) for each in over.of_target} == {("request_rate", "request_rate"), ("request_rate", "error_ratio")}


def test_nothing_is_told_of_kinds_and_relations_that_no_rule_is_about_nor_of_an_entity_over_itself() -> None:
    model = AttributeModel(load_knowledge(None))
    assert model.of_entity(EntityRef("namespace", "c", "", "shop")) is None
    assert model.of_relation(RelationKey(CART, "selects", CHECKOUT)) is None
    assert model.of_relation(RelationKey(CART, "calls", CART)) is None


def named(told: CausalKnowledge, name: ConditionRef) -> tuple[EntityRef, str]:
    model = AttributeModel(told).of_entity(name.entity)
    assert model is not None
    (found,) = (each.name for each in model.attributes if name.condition in each.conditions)
    return name.entity, found


def test_dependencies_are_the_links_among_conditions_of_the_causal_network() -> None:
    graph, told = whole_estate(), load_knowledge(None)
    compiled = compile_network(told, graph, {})
    links = set()
    for cause, effect in zip(compiled.cause.tolist(), compiled.effect.tolist(), strict=True):
        ends = compiled.names[cause], compiled.names[effect]
        if not any(isinstance(end, DefectRef) for end in ends):
            first, second = (named(told, end) for end in ends if isinstance(end, ConditionRef))
            links.add((first, second))
    model = AttributeModel(told)
    expected = set[tuple[tuple[EntityRef, str], tuple[EntityRef, str]]]()
    for entity in graph.entities():
        if within := model.of_entity(entity.ref):
            expected |= {((entity.ref, each.cause), (entity.ref, each.effect)) for each in within.dependencies}
    for relation in graph.relations():
        if over := model.of_relation(relation.key):
            expected |= {((relation.key.target, each.cause), (relation.key.source, each.effect)) for each in over.of_source}
            expected |= {((relation.key.source, each.cause), (relation.key.target, each.effect)) for each in over.of_target}
    assert {(cause, effect) for cause, effect in links if cause != effect} == expected
    assert len(expected) > 100


def whole_estate() -> LiveGraph:
    """Of every rule's relation one."""
    ends = {(rule.from_kind, rule.relation, rule.to_kind, rule.toward) for rule in load_knowledge(None).propagation}
    keys = []
    for cause, relation, effect, toward in sorted(ends):
        one, other = EntityRef(cause, "c", "shop", "a"), EntityRef(effect, "c", "shop", "b")
        keys.append(RelationKey(one, relation, other) if toward == "target" else RelationKey(other, relation, one))
    return estate(keys)
