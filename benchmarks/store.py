"""The embedded store on an estate of 100,000 entities and 300,000 relations, against sqlite3 writing the same rows to the same tables."""

from __future__ import annotations

import asyncio
import gc
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Figures, peak_rss_mb
from graph.journal import Journal
from graph.sqlite_schema import migrate
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity, Relation, RelationKey
from graph.writing import Write, apply
from schema.identity import EntityRef

ENTITIES = 100_000
RELATIONS = 300_000
HUBS = 250
HUB_SHARE = 0.1
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
BATCH = 5_000
WALKS = 300
JOURNALLED = 200
TABLES = ("entity_interval", "relation_interval", "structure_change", "name")


def run() -> Figures:
    """Loads the estate, tells it again, walks it now and in its past, restores it, and replays a journal."""
    entities, relations = estate()
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measured(Path(directory), entities, relations))


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


async def _measured(directory: Path, entities: list[Entity], relations: list[Relation]) -> Figures:
    store = SqliteGraphStore(directory / "whence.db")
    await store.ensure_schema()
    ours = await _cpu(lambda: _fill(store, entities, relations))
    await store.close()
    size = _bytes_in(directory)
    raw = _raw_load(directory / "whence.db", directory / "raw.db")
    await store.close()
    store = SqliteGraphStore(directory / "whence.db")
    await store.ensure_schema()
    refs, keys = [entity.ref for entity in entities], [relation.key for relation in relations]
    await store.touch(refs, keys, START + SECOND)
    heartbeat = await _cpu(lambda: store.touch(refs, keys, START + 2 * SECOND))
    heartbeat_entities = await _cpu(lambda: store.touch(refs, [], START + 3 * SECOND))
    present, found = await _walks(store, entities, None)
    past, _ = await _walks(store, entities, START)
    restore = await _cpu(store.snapshot)
    diff = await _cpu(lambda: store.diff(START + SECOND, START + 10 * SECOND))
    replay = await _replay(store, directory / "journal.db", entities)
    await store.close()
    return {
        "entities": len(entities),
        "relations": len(relations),
        "raw_load_cpu_seconds": round(raw, 3),
        "sqlite_load_cpu_seconds": round(ours, 3),
        "sqlite_load_vs_raw": round(ours / raw, 2),
        "heartbeat_100k_sqlite_cpu_seconds": round(heartbeat, 3),
        "heartbeat_100k_entities_alone_cpu_seconds": round(heartbeat_entities, 3),
        "three_hop_sqlite_p50_ms": _quantile(present, 0.5),
        "three_hop_sqlite_p99_ms": _quantile(present, 0.99),
        "three_hop_entities_p50": found[len(found) // 2],
        "three_hop_entities_p99": found[int(len(found) * 0.99)],
        "as_of_three_hop_sqlite_p50_ms": _quantile(past, 0.5),
        "as_of_three_hop_sqlite_p99_ms": _quantile(past, 0.99),
        "restore_sqlite_seconds": round(restore, 3),
        "diff_unchanged_cpu_seconds": round(diff, 4),
        "store_bytes_per_entity": size // len(entities),
        "journal_replay_per_second": round(replay),
        "peak_rss_mb": peak_rss_mb(),
    }


def _kind(number: int) -> str:
    return "service" if number % 20 == 0 else "pod" if number % 20 < 5 else "endpoint"


async def _fill(store: SqliteGraphStore, entities: list[Entity], relations: list[Relation]) -> None:
    for start in range(0, len(entities), BATCH):
        await store.upsert_entities(entities[start : start + BATCH])
    for start in range(0, len(relations), BATCH):
        await store.upsert_relations(relations[start : start + BATCH])


def _raw_load(source: Path, target: Path) -> float:
    """CPU seconds of the driver alone for the same rows in the same tables, indexes and batches, each batch one durable transaction."""
    database = sqlite3.connect(source)
    rows = {table: database.execute(f"select * from {table} order by rowid").fetchall() for table in TABLES}
    database.close()
    raw = sqlite3.connect(target, isolation_level=None)
    raw.execute("pragma journal_mode = wal")
    raw.execute("pragma synchronous = full")
    migrate(raw)
    gc.collect()
    start = time.process_time()
    for begin in range(0, len(rows["name"]), BATCH):
        _raw_batch(raw, {"name": rows["name"], "entity_interval": rows["entity_interval"], "structure_change": rows["structure_change"]}, begin)
    changes = rows["structure_change"][len(rows["entity_interval"]) :]
    for begin in range(0, len(rows["relation_interval"]), BATCH):
        _raw_batch(raw, {"relation_interval": rows["relation_interval"], "structure_change": changes}, begin)
    taken = time.process_time() - start
    raw.close()
    return taken


def _raw_batch(raw: sqlite3.Connection, tables: dict[str, list[Any]], begin: int) -> None:
    raw.execute("begin immediate")
    for table, rows in tables.items():
        raw.executemany(f"insert into {table} values({','.join('?' * len(rows[0]))})", rows[begin : begin + BATCH])
    raw.execute("commit")


async def _walks(store: SqliteGraphStore, entities: list[Entity], at: int | None) -> tuple[list[float], list[int]]:
    """Seconds of three hops from entities spread over the estate, and how many entities each found; both ascending."""
    taken, found = [], []
    gc.collect()
    for i in range(WALKS):
        ref = entities[(i * 331 + 7) % len(entities)].ref
        start = time.perf_counter()
        reached = await store.neighbours(ref, depth=3, at=at)
        taken.append(time.perf_counter() - start)
        found.append(len(reached.entities))
    return sorted(taken), sorted(found)


async def _replay(store: SqliteGraphStore, path: Path, entities: list[Entity]) -> float:
    """Changes a second from a journal to the store, 50 a write."""
    journal = Journal(path)
    journal.append([Write(START, tuple(entities[number * 50 : number * 50 + 50])) for number in range(JOURNALLED)])
    start = time.perf_counter()
    while (first := journal.first()) is not None:
        await apply(store, first[1])
        journal.drop(first[0])
    taken = time.perf_counter() - start
    journal.close()
    return 50 * JOURNALLED / taken


async def _cpu(work: Callable[[], Awaitable[object]]) -> float:
    gc.collect()
    start = time.process_time()
    await work()
    return time.process_time() - start


def _quantile(ascending: list[float], share: float) -> float:
    return round(1000 * ascending[int(len(ascending) * share)], 3)


def _bytes_in(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())
