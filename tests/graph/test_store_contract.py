"""What every store must do, run over each implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from graph.memory_store import MemoryGraphStore
from graph.neo4j_store import Neo4jGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreError
from graph.topology import Entity, Relation, RelationKey, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Incident, IncidentState
from tests.neo4j_server import Neo4jServer, empty

MS = 1_000_000  # stores may keep times to the millisecond
CART, CHECKOUT, ORDERS = (
    EntityRef("service", "c", "shop", "cart"),
    EntityRef("service", "c", "shop", "checkout"),
    EntityRef("database", "c", "shop", "orders"),
)
CALLS = RelationKey(CHECKOUT, "calls", CART)
QUERIES = RelationKey(CART, "queries", ORDERS)


def entity(ref: EntityRef, seen: int, **attributes: str) -> Entity:
    return Entity(ref, attributes, ("test",), seen * MS, seen * MS)


def relation(key: RelationKey, seen: int) -> Relation:
    return Relation(key, ("test",), 0.9, seen * MS, seen * MS, None)


@pytest_asyncio.fixture(params=["memory", "sqlite", pytest.param("neo4j", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[GraphStore]:
    opened: GraphStore = MemoryGraphStore() if request.param == "memory" else SqliteGraphStore(tmp_path / "whence.db")
    if request.param == "neo4j":
        server: Neo4jServer = request.getfixturevalue("neo4j_server")
        await empty(server.address)
        opened = Neo4jGraphStore(server.address)
    await opened.ensure_schema()
    yield opened
    await opened.close()


async def fill(store: GraphStore) -> None:
    await store.upsert_entities([entity(CART, 10), entity(CHECKOUT, 10), entity(ORDERS, 20)])
    await store.upsert_relations([relation(CALLS, 10), relation(QUERIES, 20)])


async def test_what_was_written_is_read_back(store: GraphStore) -> None:
    await fill(store)
    snapshot = await store.snapshot()
    assert [each.ref for each in snapshot.entities] == [ORDERS, CART, CHECKOUT]
    assert [each.key for each in snapshot.relations] == [QUERIES, CALLS]


async def test_the_past_is_read_as_it_was(store: GraphStore) -> None:
    await fill(store)
    await store.expire([ORDERS], [], 30 * MS)
    assert await store.get(ORDERS) is None
    assert await store.get(ORDERS, at=25 * MS) is not None
    assert [each.key for each in (await store.snapshot(at=15 * MS)).relations] == [CALLS]
    assert [change.event for change in await store.changes(20 * MS)] == [StructureEvent.ENTITY_EXPIRED, StructureEvent.RELATION_EXPIRED]


async def test_a_heartbeat_opens_no_interval(store: GraphStore) -> None:
    await fill(store)
    before = await store.changes(0)
    await store.touch([CART], [CALLS], 40 * MS)
    await store.touch([CART], [CALLS], 35 * MS)
    cart = await store.get(CART)
    assert cart is not None
    assert cart.last_seen == 40 * MS
    assert await store.changes(0) == before


async def test_a_changed_attribute_is_a_structural_change(store: GraphStore) -> None:
    await store.upsert_entities([entity(CART, 10, version="1")])
    await store.upsert_entities([entity(CART, 20, version="2")])
    then = await store.get(CART, at=15 * MS)
    now = await store.get(CART)
    assert then is not None
    assert now is not None
    assert (then.attributes["version"], now.attributes["version"]) == ("1", "2")
    assert [change.event for change in await store.changes(10 * MS)] == [StructureEvent.ENTITY_CHANGED]


async def test_a_relation_without_its_ends_is_refused_and_nothing_is_written(store: GraphStore) -> None:
    await store.upsert_entities([entity(CART, 10), entity(CHECKOUT, 10)])
    with pytest.raises(StoreError, match="database:c/shop/orders"):
        await store.upsert_relations([relation(CALLS, 10), relation(QUERIES, 10)])
    assert (await store.snapshot()).relations == ()


async def test_neighbours_and_paths(store: GraphStore) -> None:
    await fill(store)
    assert [each.ref for each in (await store.neighbours(CHECKOUT)).entities] == [CART, CHECKOUT]
    assert len((await store.neighbours(CHECKOUT, depth=2)).entities) == 3
    assert [list(path) for path in await store.paths(CHECKOUT, ORDERS)] == [[CALLS, QUERIES]]
    assert (await store.neighbours(EntityRef("service", "c", "shop", "nobody"))).entities == ()


async def test_finding_pages_in_ascending_identity(store: GraphStore) -> None:
    await fill(store)
    first = await store.find(text="C/SHOP", limit=2)
    rest = await store.find(text="c/shop", after=first[-1].ref)
    assert [each.ref for each in [*first, *rest]] == [ORDERS, CART, CHECKOUT]
    assert [each.ref for each in await store.find(kind="database")] == [ORDERS]


async def test_incidents_are_replaced_by_id_and_newest_first(store: GraphStore) -> None:
    incident = Incident("a", DefectRef(ORDERS, "slow_query"), IncidentState.OPEN, 10 * MS, 9 * MS, None, 0.9, 0.9, (ConditionRef(CART, "latency_high"),))
    later = Incident("b", DefectRef(CART, "slow_code"), IncidentState.RECOVERED, 20 * MS, None, 30 * MS, 0.1, 0.8, ())
    await store.save_incidents([incident])
    await store.save_incidents([incident, later])
    assert list(await store.incidents()) == [later, incident]
    assert list(await store.incidents(IncidentState.OPEN)) == [incident]


async def test_state_is_kept_by_name(store: GraphStore) -> None:
    await store.save_state("belief", b"1")
    await store.save_state("belief", b"2")
    assert await store.load_state("belief") == b"2"
    assert await store.load_state("other") is None


async def test_a_write_that_is_repeated_changes_nothing_more(store: GraphStore) -> None:
    await fill(store)
    writes: list[Callable[[], Awaitable[None]]] = [
        lambda: store.upsert_entities([entity(CART, 30, version="2"), entity(ORDERS, 30)]),
        lambda: store.upsert_relations([relation(CALLS, 30), relation(RelationKey(CHECKOUT, "queries", ORDERS), 30)]),
        lambda: store.touch([CART], [CALLS], 35 * MS),
        lambda: store.expire([ORDERS], [CALLS], 40 * MS),
        lambda: store.save_incidents([Incident("a", DefectRef(CART, "slow"), IncidentState.OPEN, 10 * MS, None, None, 0.5, 0.5, ())]),
        lambda: store.save_state("belief", b"1"),
    ]
    for write in writes:
        await write()
        before = [await store.snapshot(at) for at in (None, 15 * MS, 32 * MS, 50 * MS)], list(await store.changes(0)), list(await store.incidents())
        await write()
        assert ([await store.snapshot(at) for at in (None, 15 * MS, 32 * MS, 50 * MS)], list(await store.changes(0)), list(await store.incidents())) == before


async def test_what_comes_back_after_it_expired_was_not_there_in_between(store: GraphStore) -> None:
    await fill(store)
    await store.expire([ORDERS], [], 30 * MS)
    await store.upsert_entities([entity(ORDERS, 40)])
    assert [await store.get(ORDERS, at * MS) is not None for at in (19, 20, 29, 30, 39, 40)] == [False, True, True, False, False, True]
    assert [change.at for change in await store.changes(0) if change.entity == ORDERS] == [20 * MS, 30 * MS, 40 * MS]


async def test_what_is_dated_before_its_last_interval_takes_effect_when_that_began_or_ended(store: GraphStore) -> None:
    await store.upsert_entities([entity(CART, 10), entity(ORDERS, 10)])
    await store.expire([CART], [], 5 * MS)
    await store.upsert_entities([entity(CART, 7), Entity(ORDERS, {"version": "2"}, ("test",), 3 * MS, 4 * MS)])
    assert [change.at for change in await store.changes(0)] == [10 * MS] * 5
    await store.upsert_relations([relation(QUERIES, 20)])
    await store.expire([], [QUERIES], 15 * MS)
    await store.upsert_relations([relation(QUERIES, 12)])
    assert [change.at for change in await store.changes(10 * MS)] == [20 * MS] * 3
    for ref in (CART, ORDERS):
        assert [len([each for each in (await store.snapshot(at * MS)).entities if each.ref == ref]) for at in (4, 6, 8, 10, 20)] == [0, 0, 0, 1, 1]


async def test_neighbours_of_the_past_are_those_of_then(store: GraphStore) -> None:
    await fill(store)
    await store.expire([], [QUERIES], 30 * MS)
    assert {each.ref for each in (await store.neighbours(CHECKOUT, depth=2, at=25 * MS)).entities} == {CART, CHECKOUT, ORDERS}
    assert {each.ref for each in (await store.neighbours(CHECKOUT, depth=2)).entities} == {CART, CHECKOUT}
    assert {each.ref for each in (await store.neighbours(CHECKOUT, depth=2, at=15 * MS)).entities} == {CART, CHECKOUT}
    assert (await store.neighbours(CHECKOUT, at=5 * MS)).entities == ()
