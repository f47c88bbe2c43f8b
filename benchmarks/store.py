"""Both stores on an estate of 100,000 entities and 300,000 relations, against their drivers alone writing and reading the same."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import store_neo4j
from benchmarks.measure import Figures, load_average, peak_rss_mb, progress
from benchmarks.store_estate import BATCH, SECOND, START, cpu, estate, fill, quantile, walked
from graph import sqlite_reads as reads
from graph.journal import Journal
from graph.sqlite_schema import migrate
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Entity, Relation
from graph.writing import Write, apply
from schema.identity import EntityRef

WALKS = 300
JOURNALLED = 200
TABLES = ("entity_interval", "relation_interval", "structure_change", "name")


def run() -> Figures:
    """Loads the estate, tells it again, walks it now and in its past, restores it, and replays a journal; SQLite, then a Neo4j of its own."""
    entities, relations = estate()
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(_measured(Path(directory), entities, relations))
    return {**figures, **store_neo4j.figures(entities, relations), "load_average": load_average()}


async def _measured(directory: Path, entities: list[Entity], relations: list[Relation]) -> Figures:
    progress("SQLite: load")
    store = SqliteGraphStore(directory / "whence.db")
    await store.ensure_schema()
    ours = await cpu(lambda: fill(store, entities, relations))
    await store.close()
    size = _bytes_in(directory)
    raw = _raw_load(directory / "whence.db", directory / "raw.db")
    store = SqliteGraphStore(directory / "whence.db")
    await store.ensure_schema()
    progress("SQLite: heartbeats, restore, difference, journal")
    refs, keys = [entity.ref for entity in entities], [relation.key for relation in relations]
    first_heartbeat = await cpu(lambda: store.touch(refs, keys, START + SECOND))
    heartbeat = await cpu(lambda: store.touch(refs, keys, START + 2 * SECOND))
    heartbeat_entities = await cpu(lambda: store.touch(refs, [], START + 3 * SECOND))
    restore = await cpu(store.snapshot)
    diff = await cpu(lambda: store.diff(START + SECOND, START + 10 * SECOND))
    progress("SQLite: walks")
    walks = await _walks(store, entities)
    replay = await _replay(store, directory / "journal.db", entities)
    await store.close()
    return {
        "entities": len(entities),
        "relations": len(relations),
        "raw_load_cpu_seconds": round(raw, 3),
        "sqlite_load_cpu_seconds": round(ours, 3),
        "sqlite_load_vs_raw": round(ours / raw, 2),
        "heartbeat_100k_sqlite_cpu_seconds": round(heartbeat, 3),
        "heartbeat_100k_first_cpu_seconds": round(first_heartbeat, 3),
        "heartbeat_100k_entities_alone_cpu_seconds": round(heartbeat_entities, 3),
        **walks,
        **await _identities_alone(directory / "whence.db", entities),
        "restore_sqlite_seconds": round(restore, 3),
        "diff_unchanged_cpu_seconds": round(diff, 4),
        "store_bytes_per_entity": size // len(entities),
        "journal_replay_per_second": round(replay),
        "peak_rss_mb": peak_rss_mb(),
    }


async def _walks(store: SqliteGraphStore, entities: list[Entity]) -> Figures:
    """Three hops in either direction: every entity and every relation among them, as values."""

    async def whole(ref: EntityRef, at: int | None) -> int:
        return len((await store.neighbours(ref, depth=3, at=at)).entities)

    present, found = await walked(entities, WALKS, partial(whole, at=None))
    past, _ = await walked(entities, WALKS, partial(whole, at=START))
    return {
        "three_hop_sqlite_p50_ms": quantile(present, 0.5),
        "three_hop_sqlite_p99_ms": quantile(present, 0.99),
        "three_hop_entities_p50": found[len(found) // 2],
        "three_hop_entities_p99": found[int(len(found) * 0.99)],
        "as_of_three_hop_sqlite_p50_ms": quantile(past, 0.5),
        "as_of_three_hop_sqlite_p99_ms": quantile(past, 0.99),
    }


async def _identities_alone(path: Path, entities: list[Entity]) -> Figures:
    """The walk of those three hops by itself: which entities are within them, in either direction and along the dependencies."""
    told: Figures = {}
    with closing(sqlite3.connect(path, isolation_level=None, cached_statements=256)) as database:

        async def ids(ref: EntityRef, direction: reads.Direction) -> int:
            return len(reads.reached(database, ref, 3, direction, None))

        for name, direction in (("", reads.Direction.EITHER), ("_dependencies", reads.Direction.ONWARD), ("_dependents", reads.Direction.BACK)):
            taken, found = await walked(entities, WALKS, partial(ids, direction=direction))
            told[f"three_hop{name}_identities_sqlite_p50_ms"] = quantile(taken, 0.5)
            told[f"three_hop{name}_identities_sqlite_p99_ms"] = quantile(taken, 0.99)
            told[f"three_hop{name}_identities_p50"] = found[len(found) // 2]
            told[f"three_hop{name}_identities_p99"] = found[int(len(found) * 0.99)]
    return told


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


def _bytes_in(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())
