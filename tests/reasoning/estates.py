"""A small vocabulary of causes and small estates to lay it over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph.live import LiveGraph
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from reasoning.compile import CompiledNetwork
from reasoning.layout import Name
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, CauseLink, ConditionRule, DefectRule, KindKnowledge, PropagationRule, Toward
from schema.strength import constant, expression
from schema.verdicts import ConditionRef, DefectRef, Finding

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

FRONT, CART, ORDERS = (EntityRef("service", "c", "shop", name) for name in ("front", "cart", "orders"))
ORDERS_DB = EntityRef("database", "c", "shop", "orders-db")
PODS = tuple(EntityRef("pod", "c", "shop", f"cart-{number}") for number in range(4))


def condition(name: str, leak: float = 0.0001) -> ConditionRule:
    return ConditionRule(name, "", "server_duration", "slower", leak, 0.01, 0.05)


def knowledge() -> CausalKnowledge:
    """A slow query makes a database slow, that its services, those their callers. A full pod makes its service slow."""
    service = KindKnowledge(
        "service",
        {each.name: each for each in (condition("latency_high"), condition("own_time_high", 0.0005))},
        {"slow_code": DefectRule("slow_code", "", 0.001, {"deploy": 60.0}, (), "test")},
        (CauseLink("slow_code", "own_time_high", 0.9), CauseLink("own_time_high", "latency_high", 0.95)),
    )
    database = KindKnowledge(
        "database",
        {"latency_high": condition("latency_high")},
        {"slow_query": DefectRule("slow_query", "", 0.002, {}, (), "test")},
        (CauseLink("slow_query", "latency_high", 0.9),),
    )
    pod = KindKnowledge("pod", {"cpu_use_high": condition("cpu_use_high", 0.001)}, {}, ())
    follows = expression("0.98 * share_of_latency_excess", 0.35)
    members = expression("min(0.9, 2 * share_of_members)", 0.1)
    rules = (
        PropagationRule("calls", Toward.SOURCE, "service", "latency_high", "service", "latency_high", follows),
        PropagationRule("queries", Toward.SOURCE, "database", "latency_high", "service", "latency_high", follows),
        PropagationRule("runs_on", Toward.SOURCE, "pod", "cpu_use_high", "service", "own_time_high", members),
        PropagationRule("runs_on", Toward.TARGET, "service", "slow_code", "pod", "cpu_use_high", constant(0.3)),
    )
    return CausalKnowledge("test", {each.kind: each for each in (service, database, pod)}, rules, ())


def calls(source: EntityRef, target: EntityRef) -> RelationKey:
    return RelationKey(source, "queries" if target.kind == "database" else "runs_on" if target.kind == "pod" else "calls", target)


CHAIN = (calls(FRONT, CART), calls(CART, ORDERS), calls(ORDERS, ORDERS_DB))


def estate(relations: Sequence[RelationKey] = CHAIN, *, at: int = START, confidence: float = 1.0) -> LiveGraph:
    """A live graph in which these relations, and their ends, were seen at an instant."""
    graph = LiveGraph()
    show(graph, relations, at=at, confidence=confidence)
    return graph


def show(graph: LiveGraph, relations: Sequence[RelationKey], *, at: int, confidence: float = 1.0) -> None:
    ends = dict.fromkeys(end for key in relations for end in (key.source, key.target))
    entities = tuple(EntityObservation(end, "test", at, {}) for end in ends)
    graph.apply(TopologyDelta(at, entities, tuple(RelationObservation(key, "test", at, confidence) for key in relations)))


def slow(entity: EntityRef, ratio: float, onset: int | None = None, name: str = "latency_high") -> Finding:
    return Finding(ConditionRef(entity, name), ratio, onset, 1.0, "s", "slower")


def latency(entity: EntityRef) -> ConditionRef:
    return ConditionRef(entity, "latency_high")


SLOW_QUERY = DefectRef(ORDERS_DB, "slow_query")


def feedback_names(compiled: CompiledNetwork) -> tuple[tuple[Name, Name], ...]:
    """The links that close cycles, by name."""
    links = np.flatnonzero(compiled.feedback & (compiled.strength > 0.0)).tolist()
    return tuple((compiled.names[compiled.cause[link]], compiled.names[compiled.effect[link]]) for link in links)
