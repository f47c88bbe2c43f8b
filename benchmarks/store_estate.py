"""The estate of the store benchmarks, and how its walks are timed."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Awaitable, Callable

from graph.store import GraphStore
from graph.topology import Direction, Entity, Relation, RelationKey
from schema.identity import EntityRef

ENTITIES = 100_000
RELATIONS = 300_000
HUBS = 250
HUB_SHARE = 0.1
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
BATCH = 5_000
# What is asked of an entity, three hops far: who breaks with it, what it needs, and the whole picture around it.
QUESTIONS = {"three_hop": Direction.DEPENDENTS, "three_hop_dependencies": Direction.DEPENDENCIES, "three_hop_neighbourhood": Direction.EITHER}


def estate() -> tuple[list[Entity], list[Relation]]:
    """Services with the pods and endpoints that are theirs, on nodes, calling each other; the first HUBS services are called by a tenth of all."""
    refs = [EntityRef(kind, f"c{i % 4}", "shop", f"{kind}{i:06}") for i, kind in ((i, _kind(i)) for i in range(ENTITIES))]
    entities = [Entity(ref, {"service.version": "1.0"}, ("otlp.traces",), START, START) for ref in refs]
    keys = dict[RelationKey, None]()
    for i in range(ENTITIES):
        keys[RelationKey(refs[i], "part_of", refs[(i // 20) * 20])] = None
    draw = random.Random(7)
    while len(keys) < RELATIONS:
        caller = draw.randrange(ENTITIES)
        hub = draw.random() < HUB_SHARE
        callee = draw.randrange(HUBS) * 20 if hub else caller // 1000 * 1000 + draw.randrange(1000)
        keys[RelationKey(refs[caller], "calls", refs[callee % ENTITIES])] = None
    return entities, [Relation(key, ("otlp.traces",), 0.99, START, START, None) for key in keys]


async def fill(store: GraphStore, entities: list[Entity], relations: list[Relation]) -> None:
    """All of it, BATCH a write."""
    for start in range(0, len(entities), BATCH):
        await store.upsert_entities(entities[start : start + BATCH])
    for start in range(0, len(relations), BATCH):
        await store.upsert_relations(relations[start : start + BATCH])


async def walked(
    entities: list[Entity], walks: int, walk: Callable[[EntityRef], Awaitable[int]], timer: Callable[[], float] = time.perf_counter
) -> tuple[list[float], list[int]]:
    """Milliseconds that a walk took from each of `walks` entities spread over the estate, and what it returned; both ascending."""
    taken, found = [], []
    gc.collect()
    for i in range(walks):
        ref = entities[(i * 331 + 7) % len(entities)].ref
        start = timer()
        found.append(await walk(ref))
        taken.append(1000 * (timer() - start))
    return sorted(taken), sorted(found)


async def cpu(work: Callable[[], Awaitable[object]]) -> float:
    """CPU seconds of this process."""
    gc.collect()
    start = time.process_time()
    await work()
    return time.process_time() - start


async def clock(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds by the clock."""
    gc.collect()
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def quantile(ascending: list[float], share: float) -> float:
    """To the microsecond."""
    return round(ascending[int(len(ascending) * share)], 3)


def _kind(number: int) -> str:
    return "service" if number % 20 == 0 else "pod" if number % 20 < 5 else "endpoint"
