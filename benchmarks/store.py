"""Both stores on an estate of 100,000 entities and 300,000 relations, against their drivers alone writing and reading the same."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import store_neo4j
from benchmarks.measure import Figures, load_average, peak_rss_mb, progress
from benchmarks.store_estate import BATCH, QUESTIONS, SECOND, START, cpu, estate, fill, quantile, walked
from graph.journal import Journal
from graph.sqlite_schema import migrate
from graph.sqlite_store import SqliteGraphStore
from graph.topology import Direction, Entity, Relation
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
        "restore_sqlite_seconds": round(restore, 3),
        "diff_unchanged_cpu_seconds": round(diff, 4),
        "store_bytes_per_entity": size // len(entities),
        "journal_replay_per_second": round(replay),
        "peak_rss_mb": peak_rss_mb(),
    }


async def _walks(store: SqliteGraphStore, entities: list[Entity]) -> Figures:
    """Who depends on a thing within three hops, what it depends on, and all that is around it: every entity and every relation among them, as values.

    CPU milliseconds of this process, in which the whole question is answered.
    """

    async def around(ref: EntityRef, at: int | None, direction: Direction) -> int:
        return len((await store.neighbours(ref, depth=3, at=at, direction=direction)).entities)

    told: Figures = {}
    for name, direction in QUESTIONS.items():
        for when, at in (("", None), ("as_of_", START)):
            taken, found = await walked(entities, WALKS, partial(around, at=at, direction=direction), time.process_time)
            told[f"{when}{name}_sqlite_p50_ms"], told[f"{when}{name}_sqlite_p99_ms"] = quantile(taken, 0.5), quantile(taken, 0.99)
        told[f"{name}_entities_p50"], told[f"{name}_entities_p99"] = found[len(found) // 2], found[int(len(found) * 0.99)]
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
