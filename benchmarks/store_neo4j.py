"""The Neo4j store on the estate of the store benchmark, on servers of its own: one for the driver alone, one for the store."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction

from benchmarks.measure import Figures, progress
from benchmarks.store_estate import BATCH, QUESTIONS, SECOND, START, clock, cpu, fill, quantile, walked
from graph import neo4j_statements as cypher
from graph.neo4j_address import Neo4jAddress, parse_neo4j
from graph.neo4j_reads import FOREVER
from graph.neo4j_rows import entity_row, relation_row, relation_type
from graph.neo4j_store import Neo4jGraphStore
from graph.neo4j_walk import walk
from graph.topology import Direction, Entity, Relation
from schema.identity import EntityRef

LAUNCHER = Path(__file__).parent.parent / "infra" / "neo4j" / "local.py"
MISSING = "not measured: Java 17 or later and Maven are needed (Debian: apt-get install default-jre-headless maven)"
KEYS = (
    "neo4j_load_vs_raw", "heartbeat_100k_neo4j_client_cpu_seconds", "three_hop_neo4j_p50_ms", "three_hop_neo4j_p99_ms",
    "as_of_three_hop_neo4j_p50_ms", "restore_neo4j_seconds",
)  # fmt: skip
WALKS, WARM_UP = 200, 20
Statement = tuple[str, dict[str, Any]]


def figures(entities: list[Entity], relations: list[Relation]) -> Figures:
    """All KEYS and what they come from; where no server can be started, the keys say why."""
    if not (shutil.which("java") and shutil.which("mvn")):
        return dict.fromkeys(KEYS, MISSING)
    try:
        return _figures(entities, relations)
    except subprocess.CalledProcessError as failed:
        return dict.fromkeys(KEYS, f"not measured: {failed.stderr.strip()}")


def _figures(entities: list[Entity], relations: list[Relation]) -> Figures:
    progress("Neo4j: the driver alone loads")
    with _server() as address:
        raw = asyncio.run(_raw_load(address, _statements(entities, relations)))
    progress("Neo4j: load")
    with _server() as address:
        return asyncio.run(_measured(address, entities, relations, raw))


async def _measured(address: Neo4jAddress, entities: list[Entity], relations: list[Relation], raw: float) -> Figures:
    store = Neo4jGraphStore(address)
    await store.ensure_schema()
    ours = await clock(lambda: fill(store, entities, relations))
    progress("Neo4j: heartbeats")
    refs, keys = [entity.ref for entity in entities], [relation.key for relation in relations]
    taken = float("nan")

    async def beat() -> None:
        nonlocal taken
        taken = await clock(lambda: store.touch(refs, keys, START + SECOND))

    heartbeat = await cpu(beat)
    progress("Neo4j: walks")
    walks = await _walks(store, address, entities)
    progress("Neo4j: restore")
    restore = await clock(store.snapshot)
    await store.close()
    return {
        "neo4j_raw_load_seconds": round(raw, 2),
        "neo4j_load_seconds": round(ours, 2),
        "neo4j_load_vs_raw": round(ours / raw, 2),
        "heartbeat_100k_neo4j_client_cpu_seconds": round(heartbeat, 3),
        "heartbeat_100k_neo4j_seconds": round(taken, 2),
        **walks,
        "restore_neo4j_seconds": round(restore, 2),
    }


async def _walks(store: Neo4jGraphStore, address: Neo4jAddress, entities: list[Entity]) -> Figures:
    """The questions of store_estate, by the clock; and the first of them by the driver alone, with the same statement and no values."""

    async def around(ref: EntityRef, at: int | None, direction: Direction) -> int:
        return len((await store.neighbours(ref, depth=3, at=at, direction=direction)).entities)

    told: Figures = {}
    for name, direction in QUESTIONS.items():
        for when, at in (("", None), ("as_of_", START)):
            ask = partial(around, at=at, direction=direction)
            await walked(entities, WARM_UP, ask)  # plans and pages
            taken, _ = await walked(entities, WALKS, ask)
            told[f"{when}{name}_neo4j_p50_ms"], told[f"{when}{name}_neo4j_p99_ms"] = quantile(taken, 0.5), quantile(taken, 0.99)
    async with AsyncGraphDatabase.driver(address.uri, auth=(address.user, address.password), notifications_min_severity="OFF") as driver:

        async def raw(ref: EntityRef) -> int:
            return await _in_transaction(driver, address, lambda transaction: _raw_walk(transaction, ref))

        await walked(entities, WARM_UP, raw)
        alone, _ = await walked(entities, WALKS, raw)
    return {**told, "three_hop_raw_neo4j_p50_ms": quantile(alone, 0.5), "three_hop_raw_neo4j_p99_ms": quantile(alone, 0.99)}


async def _raw_walk(transaction: AsyncManagedTransaction, ref: EntityRef) -> int:
    found = await (await transaction.run(walk(3, Direction.DEPENDENTS), id=str(ref), most=FOREVER)).single(strict=True)
    return len(found["entities"])


async def _in_transaction(driver: AsyncDriver, address: Neo4jAddress, work: Callable[[AsyncManagedTransaction], Awaitable[int]]) -> int:
    async with driver.session(database=address.database) as session:
        return await session.execute_read(work)


def _statements(entities: list[Entity], relations: list[Relation]) -> list[Statement]:
    """The statements that write the whole estate, one a batch: entities, then relations kind by kind in the same transactions as the store's."""
    batches = (entities[start : start + BATCH] for start in range(0, len(entities), BATCH))
    told: list[Statement] = [(cypher.UPSERT_ENTITIES, {"rows": [entity_row(entity) for entity in batch]}) for batch in batches]
    for start in range(0, len(relations), BATCH):
        batch = relations[start : start + BATCH]
        for kind in sorted({relation.key.kind for relation in batch}):
            rows = [relation_row(relation) for relation in batch if relation.key.kind == kind]
            told.append((cypher.of_type(cypher.CREATE_RELATIONS, relation_type(kind)), {"rows": rows, "kind": kind}))
    return told


async def _raw_load(address: Neo4jAddress, statements: Sequence[Statement]) -> float:
    """Seconds of the driver alone, in the layout of the store."""
    store = Neo4jGraphStore(address)
    await store.ensure_schema()
    await store.close()
    async with (
        AsyncGraphDatabase.driver(address.uri, auth=(address.user, address.password), notifications_min_severity="OFF") as driver,
        driver.session(database=address.database) as session,
    ):

        async def load() -> None:
            for statement, parameters in statements:
                await session.execute_write(_run, statement, parameters)

        return await clock(load)


async def _run(transaction: AsyncManagedTransaction, statement: str, parameters: dict[str, Any]) -> None:
    await (await transaction.run(statement, parameters)).consume()


@contextmanager
def _server() -> Iterator[Neo4jAddress]:
    """A new server of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="neo4j-") as home:

        def ask(verb: str, *options: str) -> str:
            command = [sys.executable, str(LAUNCHER), verb, "--dir", home, *options]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        try:
            state = json.loads(ask("start", "--json", "--port", "0", "--heap", "1500m", "--page-cache", "1g"))
            yield parse_neo4j(state["uri"], state["user"], state["password"])
        finally:
            ask("stop", "--wipe")
