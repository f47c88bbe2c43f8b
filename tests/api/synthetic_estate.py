"""A small estate in a real Runtime: a web shop whose orders database is slow. Times are seconds after START."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from api.pipeline import Pipeline
from api.runtime import Runtime
from graph.memory_store import MemoryGraphStore
from graph.store import GraphStore
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import (
    ConditionRef,
    DefectRef,
    Diagnosis,
    Effect,
    EntityChange,
    Evidence,
    Finding,
    Incident,
    IncidentState,
    Remedy,
    RootCause,
    RuledOut,
    Symptom,
)
from schema.windows import ChangeKind

SECOND = 1_000_000_000
START = 1_767_600_300 * SECOND  # 2026-01-05T08:05:00Z
SHOP = EntityRef("service", "c1", "web", "shop")
CART = EntityRef("service", "c1", "web", "cart")
ORDERS = EntityRef("database", "c1", "web", "orders")
POD = EntityRef("pod", "c1", "web", "shop-1")
CALLS = RelationKey(SHOP, "calls", CART)
QUERIES = RelationKey(CART, "queries", ORDERS)
RUNS_ON = RelationKey(SHOP, "runs_on", POD)


def at(seconds: float) -> int:
    """Epoch nanoseconds."""
    return START + round(seconds * SECOND)


def delta(seconds: float = 0.0) -> TopologyDelta:
    """The estate as a window of telemetry shows it."""
    time = at(seconds)
    entities = [EntityObservation(ref, "otlp.traces", time, {}) for ref in (CART, ORDERS, POD)]
    shop = EntityObservation(SHOP, "otlp.traces", time, {"service.version": "1.2", "deployment.environment": "test"})
    relations = (
        RelationObservation(CALLS, "otlp.traces", time, 0.99, requests=100, errors=3, duration=5.0),
        RelationObservation(QUERIES, "otlp.traces", time, 0.9, requests=100, errors=0, duration=2.5),
        RelationObservation(RUNS_ON, "otlp.resource", time, 0.99),
    )
    return TopologyDelta(time, (shop, *entities), relations)


def diagnosis(seconds: float = 30.0, causes: int = 1, symptoms: int = 1) -> Diagnosis:
    """The database is slow, with less and less likely alternatives."""
    finding = Finding(ConditionRef(CART, "latency_high"), 4.5, at(1.25), 0.3, "s", "0.3 s more than usual")
    listed = tuple(
        RootCause(
            DefectRef(ORDERS, f"slow_query_{place}" if place else "slow_query"),
            "A query became slow.",
            None,
            0.9 / (place + 1),
            at(1),
            (finding.condition,),
            (Evidence(finding, 2.5),),
            (Remedy("add an index", "the query is quick again", "writes cost more"),),
        )
        for place in range(causes)
    )
    ruled_out = (RuledOut(DefectRef(SHOP, "cpu_starved"), "it began after its effects"),)
    return Diagnosis(at(seconds), listed, (Symptom(finding, 0.99),) * symptoms, ruled_out, exact=True)


def incident(number: int, state: IncidentState = IncidentState.OPEN) -> Incident:
    """Incidents a second apart."""
    closed = at(number + 60) if state is IncidentState.RECOVERED else None
    return Incident(f"i{number}", DefectRef(ORDERS, "slow_query"), state, at(number), at(0.5), closed, 0.8, 0.95, (ConditionRef(CART, "latency_high"),))


def incident_in_full() -> Incident:
    """One that is over, with all that is kept of it."""
    found = Finding(ConditionRef(ORDERS, "latency_high"), 4.5, at(0.5), 0.25, "s", "mean 0.02 s -> 0.27 s over 240 requests")
    return replace(
        incident(7, IncidentState.RECOVERED),
        evidence=(Evidence(found, 3.25),),
        impacts=(Effect(ConditionRef(CART, "latency_high"), 0.01, 0.8),),
        changes=(EntityChange(at(-10), ORDERS, ChangeKind.CONFIG, "work_mem 64MB -> 4MB"),),
    )


async def runtime(store: GraphStore | None = None) -> Runtime:
    """Started, with the estate in the graph and in the store."""
    made = Runtime(Pipeline(_knowledge()), store or MemoryGraphStore())
    await made.start()
    graph = made.pipeline.graph
    graph.apply(delta())
    await made.store.upsert_entities(graph.entities())
    await made.store.upsert_relations(graph.relations())
    return made


def believe(made: Runtime, verdict: Diagnosis) -> None:
    """As if a window had closed with this verdict."""
    made.pipeline.reasoner.diagnosis = verdict
    made._past.append(verdict)
    made.hub.publish(verdict)


@cache
def _knowledge() -> CausalKnowledge:
    return load_knowledge()
