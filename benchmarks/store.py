"""The embedded store against raw sqlite3 doing the same inserts: what the model, its time travel and its thread cost."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Figures, cpu_seconds, peak_rss_mb
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef

ENTITIES = 20_000
RELATIONS = 60_000
HUBS = 50
START = 1_700_000_000_000_000_000
BATCH = 5_000


def run() -> Figures:
    """Loads an estate of 20,000 entities and 60,000 relations with hubs, touches it, and walks three hops."""
    entities, relations = _estate()
    raw = cpu_seconds(lambda: _raw_load(entities, relations), runs=3)
    ours = cpu_seconds(lambda: asyncio.run(_load(entities, relations)), runs=3)
    return {
        "entities": ENTITIES,
        "relations": RELATIONS,
        "raw_load_cpu_seconds": round(raw, 3),
        "sqlite_load_cpu_seconds": round(ours, 3),
        "sqlite_load_vs_raw": round(ours / raw, 2),
        **asyncio.run(_use(entities, relations)),
        "peak_rss_mb": peak_rss_mb(),
    }


def _estate() -> tuple[list[Entity], list[Relation]]:
    refs = [EntityRef("service", f"c{i % 4}", "shop", f"s{i:06}") for i in range(ENTITIES)]
    entities = [Entity(ref, {"service.version": "1.0"}, ("otlp.traces",), START, START) for ref in refs]
    keys = {RelationKey(refs[i % ENTITIES], "calls", refs[(i * 7919 + 13) % (HUBS if i % 10 == 0 else ENTITIES)]) for i in range(RELATIONS)}
    return entities, [Relation(key, ("otlp.traces",), 0.99, START, START, None) for key in sorted(keys)]


def _raw_load(entities: list[Entity], relations: list[Relation]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = sqlite3.connect(Path(directory) / "raw.db")
        database.execute("pragma journal_mode=wal")
        database.execute("create table entity(id text primary key, kind text, attributes text, first_seen integer, last_seen integer)")
        database.execute("create table relation(source text, kind text, target text, first_seen integer, last_seen integer, primary key(source, kind, target))")
        for start in range(0, len(entities), BATCH):
            with database:
                database.executemany(
                    "insert into entity values(?,?,?,?,?)", [(str(e.ref), e.ref.kind, "{}", e.first_seen, e.last_seen) for e in entities[start : start + BATCH]]
                )
        for start in range(0, len(relations), BATCH):
            rows = [(str(r.key.source), r.key.kind, str(r.key.target), r.first_seen, r.last_seen) for r in relations[start : start + BATCH]]
            with database:
                database.executemany("insert into relation values(?,?,?,?,?)", rows)
        database.close()


async def _load(entities: list[Entity], relations: list[Relation]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteGraphStore(Path(directory) / "whence.db")
        await _fill(store, entities, relations)
        await store.close()


async def _fill(store: SqliteGraphStore, entities: list[Entity], relations: list[Relation]) -> None:
    await store.ensure_schema()
    for start in range(0, len(entities), BATCH):
        await store.upsert_entities(entities[start : start + BATCH])
    for start in range(0, len(relations), BATCH):
        await store.upsert_relations(relations[start : start + BATCH])


async def _use(entities: list[Entity], relations: list[Relation]) -> Figures:
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteGraphStore(Path(directory) / "whence.db")
        await _fill(store, entities, relations)
        start = time.process_time()
        await store.touch([entity.ref for entity in entities], [relation.key for relation in relations], START + 1)
        heartbeat = time.process_time() - start
        walks = []
        for i in range(200):
            start = time.process_time()
            await store.neighbours(entities[HUBS + i * 97].ref, depth=1)
            walks.append(time.process_time() - start)
        start = time.process_time()
        await store.snapshot()
        restore = time.process_time() - start
        await store.close()
        size = _bytes_in(Path(directory))
    walks.sort()
    return {
        "heartbeat_all_cpu_seconds": round(heartbeat, 3),
        "one_hop_p50_cpu_ms": round(1000 * walks[len(walks) // 2], 3),
        "one_hop_p99_cpu_ms": round(1000 * walks[int(len(walks) * 0.99)], 3),
        "restore_cpu_seconds": round(restore, 3),
        "store_bytes_per_entity": size // len(entities),
    }


def _bytes_in(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())
