"""What a real Neo4j does to a store: it is killed, comes back, and takes writes of several at once. Nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from graph.checking import check
from graph.memory_store import MemoryGraphStore
from graph.neo4j_store import Neo4jGraphStore
from graph.store import StoreUnavailableError
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef
from tests.neo4j_server import Neo4jServer, command, empty, launch

MS = 1_000_000
BATCH = 50


def refs(batch: int) -> list[EntityRef]:
    return [EntityRef("service", "c", f"b{batch}", f"s{number}") for number in range(BATCH)]


async def write(store: Neo4jGraphStore, batch: int) -> None:
    await store.upsert_entities([Entity(ref, {}, ("t",), batch * MS, batch * MS) for ref in refs(batch)])
    keys = [RelationKey(refs(batch)[0], "calls", ref) for ref in refs(batch)[1:]]
    await store.upsert_relations([Relation(key, ("t",), 1.0, batch * MS, batch * MS, None) for key in keys])


@pytest.mark.slow
async def test_what_was_acknowledged_survives_the_kill_of_the_server_and_a_write_that_is_repeated_is_not_doubled(neo4j_server: Neo4jServer) -> None:
    if neo4j_server.home is None:
        pytest.skip("The server of NEO4J_URI is not ours to kill.")
    await empty(neo4j_server.address)
    store = Neo4jGraphStore(neo4j_server.address, retry_seconds=0.0)
    await store.ensure_schema()
    await write(store, 0)
    killed = asyncio.create_task(_killed(neo4j_server.home))
    acknowledged = await _written_until_it_fails(store)
    await killed
    launch(neo4j_server.home, "--port", neo4j_server.address.uri.rpartition(":")[2])
    for batch in range(acknowledged, acknowledged + 2):  # the first may have come through, whole or its entities alone
        await write(store, batch)
    snapshot, changes, found = await store.snapshot(), await store.changes(-1), await check(store.records())
    await store.close()
    assert acknowledged > 0
    assert found.problems == ()
    assert len(snapshot.entities) == BATCH * (acknowledged + 2)
    assert len(snapshot.relations) == (BATCH - 1) * (acknowledged + 2)
    assert len({(change.entity, change.relation) for change in changes}) == len(changes) == len(snapshot.entities) + len(snapshot.relations)


async def _written_until_it_fails(store: Neo4jGraphStore) -> int:
    for batch in range(1, 100_000):
        try:
            await write(store, batch)
        except StoreUnavailableError:
            return batch
    raise AssertionError("the server was not killed")


async def _killed(home: Path) -> None:
    process = await asyncio.create_subprocess_exec(*command(home, "status", "--json"), stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()  # the writing goes on meanwhile
    os.kill(json.loads(told)["pid"], signal.SIGKILL)


@pytest.mark.slow
async def test_writers_at_the_same_time_leave_what_they_would_have_left_one_after_the_other(neo4j_server: Neo4jServer) -> None:
    await empty(neo4j_server.address)
    everybody = [EntityRef("service", "c", "shop", f"s{number:02}") for number in range(40)]
    keys = [RelationKey(everybody[number], "calls", everybody[(number * 7 + 3) % 40]) for number in range(40)]

    async def see(store: Neo4jGraphStore | MemoryGraphStore, writer: int) -> None:
        for turn in range(3):
            seen = (10 + 3 * turn + writer) * MS
            order = everybody[writer * 5 :] + everybody[: writer * 5]  # each in an order of its own: locks are taken crosswise
            await store.upsert_entities([Entity(ref, {"version": f"{turn}.{writer}"}, (f"w{writer}",), seen, seen) for ref in order])
            await store.upsert_relations([Relation(key, (f"w{writer}",), writer / 10, seen, seen, None) for key in reversed(keys)])
            await store.touch(order, keys, seen + MS)

    stores = [Neo4jGraphStore(neo4j_server.address, retry_seconds=60.0) for _ in range(4)]
    for store in stores:
        await store.ensure_schema()
    await asyncio.gather(*(see(store, writer) for writer, store in enumerate(stores)))
    oracle = MemoryGraphStore()
    for writer in range(4):
        await see(oracle, writer)
    left = await stores[0].snapshot()
    for store in stores:
        await store.close()
    assert left == await oracle.snapshot()
