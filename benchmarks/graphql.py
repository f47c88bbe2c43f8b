"""The GraphQL door on large answers: strawberry as it comes against the projection executor, and what reading the estate adds."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any, cast

import httpx
import orjson
import strawberry
from strawberry.schema.config import StrawberryConfig

from api.graphql.context import Context
from api.graphql.diagnosis_pages import DiagnosisPages
from api.graphql.entity_index import EntityIndex
from api.graphql.executor import ProjectingExecutor
from api.graphql.query_verdicts import Subscription
from api.graphql.scalars import Instant, date_time
from api.graphql.schema import Query, make_schema
from api.graphql.types_estate import Topology, entities_of, relations_of
from api.http import build_application
from api.pipeline import Pipeline
from api.runtime import Runtime
from benchmarks.measure import Figures, peak_rss_mb
from graph.memory_store import MemoryGraphStore
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from schema.identity import EntityRef
from schema.loader import load_knowledge
from schema.verdicts import ConditionRef, DefectRef, Diagnosis, Evidence, Finding, Remedy, RootCause

START = 1_767_600_300_000_000_000
SECOND = 1_000_000_000
ENTITIES, RELATIONS, HUBS = 2_000, 6_000, 50
CAUSES, SUBSCRIBERS = 100, 200
TOPOLOGY = """query ($root: ID!) { topology(root: $root, depth: 2) { at root truncated
  entities { id kind cluster namespace name service firstSeen lastSeen attributes { name value } }
  relations { source kind target confidence firstSeen lastSeen statistics { requests errors requestRate errorRatio meanDurationSeconds } } } }"""
ROOT_CAUSES = """{ rootCauses(first: 100) { entity defect summary probability onset explains { entity condition }
  evidence { observed weight amount unit } remedies { action effect risk } } }"""
DIAGNOSES = "subscription { diagnoses(first: 50) { at rootCauses { entity kind namespace name defect probability onset } } }"


@strawberry.type
class _Prepared:
    """The same topology, read and filled beforehand: what is left is execution."""

    @strawberry.field
    def topology(self, info: strawberry.Info, start: Annotated[strawberry.ID, strawberry.argument(name="root")], depth: int = 1) -> Topology:  # noqa: ARG002
        prepared: Topology = info.context
        return prepared


def run() -> Figures:
    """Process CPU milliseconds of one request, on an estate of 2,000 entities and 6,000 relations."""
    return asyncio.run(_run())


async def _run() -> Figures:
    runtime = await _runtime()
    graph, root = runtime.pipeline.graph, _ref(0)
    context = Context(runtime, EntityIndex(graph), DiagnosisPages(), "", 60.0, lambda: 0.0)
    ours = make_schema()
    # The same types and resolvers, without our executor, limits and caches.
    theirs = strawberry.Schema(Query, subscription=Subscription, config=StrawberryConfig(scalar_map={Instant: date_time()}))
    around = graph.neighbourhood(root, 2)
    sizes = (len(around.entities), len(around.relations))
    variables = {"root": f"{root}"}
    gc.freeze()
    read = await _cpu_ms(_later(lambda: (graph.neighbourhood(root, 1), graph.neighbourhood(root, 2))))
    fill = await _cpu_ms(_later(lambda: (entities_of(around.entities, graph), relations_of(around.relations))))
    scalars = StrawberryConfig(scalar_map={Instant: date_time()})
    plain, projecting = strawberry.Schema(_Prepared, config=scalars), strawberry.Schema(_Prepared, config=scalars, execution_context_class=ProjectingExecutor)
    prepared = Topology(
        at=Instant(around.at),
        root=strawberry.ID(f"{root}"),
        entities=entities_of(around.entities, graph),
        relations=relations_of(around.relations),
        truncated=False,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=build_application(runtime)), base_url="http://whence") as client:
        posted = await _cpu_ms(lambda: client.post("/graphql", json={"query": TOPOLOGY, "variables": variables}))
    figures: Figures = {
        "entities": sizes[0],
        "relations": sizes[1],
        "topology_read_graph_cpu_ms": read,
        "topology_fill_types_cpu_ms": fill,
        "topology_execute_strawberry_cpu_ms": await _cpu_ms(lambda: _ask(plain, TOPOLOGY, prepared, variables, _json_dumps)),
        "topology_execute_cpu_ms": await _cpu_ms(lambda: _ask(projecting, TOPOLOGY, prepared, variables, orjson.dumps)),
        "topology_whole_strawberry_cpu_ms": await _cpu_ms(lambda: _ask(theirs, TOPOLOGY, context, variables, _json_dumps)),
        "topology_whole_cpu_ms": await _cpu_ms(lambda: _ask(ours, TOPOLOGY, context, variables, orjson.dumps)),
        "topology_over_asgi_cpu_ms": posted,
        "root_causes_100_strawberry_cpu_ms": await _cpu_ms(lambda: _ask(theirs, ROOT_CAUSES, context, {}, _json_dumps)),
        "root_causes_100_cpu_ms": await _cpu_ms(lambda: _ask(ours, ROOT_CAUSES, context, {}, orjson.dumps)),
        "diagnosis_of_50_to_200_subscribers_strawberry_cpu_ms": await _tell(runtime, theirs, context, _json_dumps),
        "diagnosis_of_50_to_200_subscribers_cpu_ms": await _tell(runtime, ours, context, orjson.dumps),
        "peak_rss_mb": peak_rss_mb(),
    }
    gc.unfreeze()
    return figures


async def _runtime() -> Runtime:
    runtime = Runtime(Pipeline(load_knowledge()), MemoryGraphStore())
    chance = random.Random(1)
    keys = {RelationKey(_ref(0 if place <= HUBS else 1 + place % HUBS), "calls", _ref(place)) for place in range(1, ENTITIES)}
    while len(keys) < RELATIONS:
        keys.add(RelationKey(_ref(chance.randrange(1, ENTITIES)), "calls", _ref(chance.randrange(1, ENTITIES))))
    entities = tuple(EntityObservation(_ref(place), "otlp.traces", START, {"service.version": "1.4.2"}) for place in range(ENTITIES))
    relations = tuple(RelationObservation(key, "otlp.traces", START, 0.99, 120, 3, 5.0) for key in sorted(keys))
    runtime.pipeline.graph.apply(TopologyDelta(START, entities, relations))
    runtime.pipeline.reasoner.diagnosis = _diagnosis(0)
    return runtime


def _ref(place: int) -> EntityRef:
    return EntityRef("service", "c1", f"team-{place % 20}", f"service-{place:05}")


def _diagnosis(window: int) -> Diagnosis:
    finding = Finding(ConditionRef(_ref(1), "latency_high"), 4.5, START, 0.3, "s", "requests took 0.3 s longer than usual")
    causes = tuple(
        RootCause(
            DefectRef(_ref(place), "slow_code"),
            "The service's own work takes longer than before.",
            _ref(place),
            1.0 / (place + 2),
            START + place,
            (finding.condition,) * 3,
            (Evidence(finding, 2.0),) * 5,
            (Remedy("Roll back the last deploy.", "Own time returns to its usual level.", "Features of the deploy are lost."),),
        )
        for place in range(CAUSES)
    )
    return Diagnosis(START + window * 5 * SECOND, causes, (), (), exact=True)


async def _ask(schema: strawberry.Schema, query: str, context: object, variables: dict[str, Any], encode: Callable[[Any], bytes]) -> bytes:
    result = await schema.execute(query, variable_values=variables, context_value=context)
    assert result.errors is None, result.errors
    return encode(result.data)


async def _tell(runtime: Runtime, schema: strawberry.Schema, context: Context, encode: Callable[[Any], bytes]) -> float:
    """CPU milliseconds to bring one diagnosis to all subscribers, sockets left out."""
    streams = [cast("Any", await schema.subscribe(DIAGNOSES, context_value=context)) for _ in range(SUBSCRIBERS)]
    windows = iter(range(1, 100))

    async def one() -> None:
        runtime.hub.publish(_diagnosis(next(windows)))
        for stream in streams:
            result = await anext(stream)
            assert result.errors is None, result.errors
            encode(result.data)

    taken = await _cpu_ms(one)
    for stream in streams:
        async with aclosing(stream):
            pass
    return taken


def _later(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def do() -> object:
        return work()

    return do


async def _cpu_ms(work: Callable[[], Awaitable[object]], runs: int = 7) -> float:
    await work()
    taken = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        await work()
        taken.append(time.process_time() - start)
    return round(1_000 * statistics.median(taken), 1)


def _json_dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
