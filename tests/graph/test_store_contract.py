"""What every store must do, run over each implementation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from graph.attributes import RelationDependencies
from graph.memory_store import MemoryGraphStore
from graph.store import GraphStore, StoreError
from graph.topology import Direction, Entity, Relation, RelationKey, StructureEvent
from graph.walks import difference
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Effect, EntityChange, Evidence, Finding, Incident, IncidentState
from schema.windows import ChangeKind
from tests.graph.stored_shop import (
    CALLS,
    CART,
    CART_HAS,
    CHECKOUT,
    CHECKOUT_HAS,
    ERRORS,
    LATENCY,
    MS,
    ORDERS,
    OVER_CALLS,
    QUERIES,
    SHOP,
    SLOW_WAITS,
    attributes,
    entity,
    fill,
    problems,
    relation,
)


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


async def test_neighbours_along_the_dependencies_or_against_them_are_those_a_walk_that_never_turns_meets(store: GraphStore) -> None:
    await fill(store)
    await store.upsert_entities([entity(SHOP, 20)])
    await store.upsert_relations([relation(RelationKey(SHOP, "calls", CART), 20), relation(RelationKey(CHECKOUT, "queries", ORDERS), 20)])

    async def around(ref: EntityRef, direction: Direction, depth: int = 3) -> set[EntityRef]:
        return {each.ref for each in (await store.neighbours(ref, depth, direction=direction)).entities}

    assert await around(ORDERS, Direction.DEPENDENTS) == {ORDERS, CART, CHECKOUT, SHOP}
    assert await around(ORDERS, Direction.DEPENDENTS, 1) == {ORDERS, CART, CHECKOUT}
    assert await around(SHOP, Direction.DEPENDENCIES) == {SHOP, CART, ORDERS}
    assert await around(SHOP, Direction.EITHER) == {SHOP, CART, ORDERS, CHECKOUT}
    # All relations among them, also those that no step took.
    assert {each.key for each in (await store.neighbours(ORDERS, direction=Direction.DEPENDENTS)).relations} == {
        CALLS, QUERIES, RelationKey(CHECKOUT, "queries", ORDERS)
    }  # fmt: skip


async def test_the_nearest_neighbours_stay_when_there_are_more_than_were_asked_for(store: GraphStore) -> None:
    await fill(store)
    await store.upsert_entities([entity(SHOP, 20)])
    await store.upsert_relations([relation(RelationKey(SHOP, "calls", CART), 20)])
    for at in (None, 25 * MS):
        assert [[each.ref for each in (await store.neighbours(ORDERS, 3, at, most=most)).entities] for most in (1, 2, 3, 4)] == [
            [ORDERS], [ORDERS, CART], [ORDERS, CART, CHECKOUT], [ORDERS, CART, CHECKOUT, SHOP]
        ]  # fmt: skip


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


DEPLOYED = EntityChange(8 * MS, ORDERS, ChangeKind.DEPLOY, "service.version 1 -> 2")
RESTARTED = EntityChange(9 * MS, EntityRef("pod", "c", "shop", "never-seen"), ChangeKind.RESTART, "Back-off restarting: it's 'örders'")
FOUND = Finding(ConditionRef(ORDERS, "latency_high"), 4.5, 9 * MS, 0.25, "s", "mean 0.02 s -> 0.27 s over 240 requests")
UNFOUND = Finding(ConditionRef(CART, "own_time_high"), -1.5, None, 0.0, "s", "mean 0.01 s as ever")
WHOLE = Incident(
    "w", DefectRef(ORDERS, "slow_query"), IncidentState.OPEN, 10 * MS, 9 * MS, None, 0.9, 0.9, (ConditionRef(CART, "latency_high"),),
    (Evidence(FOUND, 3.25), Evidence(UNFOUND, -0.5)), (Effect(ConditionRef(CART, "latency_high"), 0.01, 0.8),), (DEPLOYED,),
)  # fmt: skip


async def test_an_incident_keeps_its_evidence_what_it_takes_down_and_what_was_changed_before(store: GraphStore) -> None:
    await fill(store)
    await store.save_incidents([WHOLE])
    assert list(await store.incidents()) == [WHOLE]
    assert list(await store.entity_changes(0)) == [DEPLOYED]
    over = replace(WHOLE, state=IncidentState.RECOVERED, closed_at=40 * MS, evidence=WHOLE.evidence[:1], impacts=())
    await store.save_incidents([over])
    assert list(await store.incidents()) == [over]
    assert await problems(store) == []


async def test_changes_to_entities_are_kept_once_and_come_in_order(store: GraphStore) -> None:
    await store.save_entity_changes([RESTARTED, DEPLOYED])
    await store.save_entity_changes([DEPLOYED])
    assert list(await store.entity_changes(0)) == [DEPLOYED, RESTARTED]
    assert list(await store.entity_changes(8 * MS)) == [RESTARTED]
    assert list(await store.entity_changes(0, until=8 * MS)) == [DEPLOYED]
    assert list(await store.entity_changes(0, limit=1)) == [DEPLOYED]


async def test_compaction_forgets_changes_to_entities_unless_an_incident_has_them(store: GraphStore) -> None:
    await store.save_entity_changes([RESTARTED])
    await store.save_incidents([WHOLE])
    await store.compact(9 * MS, 9)
    assert list(await store.entity_changes(0)) == [DEPLOYED, RESTARTED]
    await store.compact(20 * MS, 9)
    assert list(await store.entity_changes(0)) == [DEPLOYED]
    assert await problems(store) == []


async def test_state_is_kept_by_name(store: GraphStore) -> None:
    await store.save_state("belief", b"1")
    await store.save_state("belief", b"2")
    assert await store.load_state("belief") == b"2"
    assert await store.load_state("other") is None


async def test_a_write_that_is_repeated_changes_nothing_more(store: GraphStore) -> None:
    await fill(store)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: store.upsert_entities([entity(CART, 30, version="2"), entity(ORDERS, 30)]),
        lambda: store.upsert_relations([relation(CALLS, 30), relation(RelationKey(CHECKOUT, "queries", ORDERS), 30)]),
        lambda: store.save_attributes([CART_HAS, CHECKOUT_HAS], [OVER_CALLS]),
        lambda: store.touch([CART], [CALLS], 35 * MS),
        lambda: store.expire([ORDERS], [CALLS], 40 * MS),
        lambda: store.save_incidents([Incident("a", DefectRef(CART, "slow"), IncidentState.OPEN, 10 * MS, None, None, 0.5, 0.5, ())]),
        lambda: store.save_entity_changes([RESTARTED]),
        lambda: store.save_incidents([WHOLE]),
        lambda: store.save_state("belief", b"1"),
    ]
    for write in writes:
        await write()
        before = [record async for batch in store.records() for record in batch]
        await write()
        assert [record async for batch in store.records() for record in batch] == before


async def test_what_comes_back_after_it_expired_was_not_there_in_between(store: GraphStore) -> None:
    await fill(store)
    await store.expire([ORDERS], [], 30 * MS)
    await store.upsert_entities([entity(ORDERS, 40)])
    assert [await store.get(ORDERS, at * MS) is not None for at in (19, 20, 29, 30, 39, 40)] == [False, True, True, False, False, True]
    assert [change.at for change in await store.changes(0) if change.entity == ORDERS] == [20 * MS, 30 * MS, 40 * MS]


async def test_what_is_dated_before_its_last_interval_takes_effect_when_that_began_or_ended(store: GraphStore) -> None:
    await store.upsert_entities([entity(CART, 10), entity(ORDERS, 10)])
    await store.expire([CART], [], 12 * MS)
    await store.upsert_entities([Entity(CART, {}, ("test",), 7 * MS, 13 * MS), Entity(ORDERS, {"version": "2"}, ("test",), 3 * MS, 11 * MS)])
    assert [change.at for change in await store.changes(0)] == [10 * MS, 10 * MS, 11 * MS, 12 * MS, 12 * MS]
    await store.upsert_relations([relation(QUERIES, 20)])
    await store.expire([], [QUERIES], 25 * MS)
    await store.upsert_relations([Relation(QUERIES, ("test",), 0.9, 21 * MS, 26 * MS, None)])
    assert [change.at for change in await store.changes(12 * MS)] == [20 * MS, 25 * MS, 25 * MS]
    for ref in (CART, ORDERS):
        assert [len([each for each in (await store.snapshot(at * MS)).entities if each.ref == ref]) for at in (4, 6, 8, 10, 20)] == [0, 0, 0, 1, 1]


async def test_what_was_seen_since_does_not_expire_and_what_was_not_does_not_return(store: GraphStore) -> None:
    await fill(store)
    await store.touch([ORDERS], [QUERIES], 40 * MS)
    await store.expire([ORDERS, CART], [CALLS, QUERIES], 35 * MS)
    assert [each.ref for each in (await store.snapshot()).entities] == [ORDERS, CHECKOUT]
    await store.upsert_entities([entity(CART, 35)])
    assert await store.get(CART) is None
    assert list(await store.touch([ORDERS, CART], [QUERIES], 50 * MS)) == [CART, QUERIES]
    await store.upsert_entities([entity(CART, 36)])
    assert await store.get(CART) is not None


async def test_sightings_merge_and_the_newest_attributes_stand(store: GraphStore) -> None:
    def seen(version: str, source: str, first: int, last: int) -> Entity:
        return Entity(CART, {"version": version}, (source,), first * MS, last * MS)

    await store.upsert_entities([seen("2", "b", 20, 30)])
    await store.touch([CART], [], 60 * MS)
    await store.upsert_entities([seen("1", "a", 10, 25)])
    assert await store.get(CART) == Entity(CART, {"version": "2"}, ("a", "b"), 10 * MS, 60 * MS)
    await store.upsert_entities([seen("3", "a", 10, 50)])
    assert await store.get(CART) == Entity(CART, {"version": "3"}, ("a", "b"), 10 * MS, 60 * MS)
    assert [(change.at, change.detail) for change in await store.changes(20 * MS)] == [(50 * MS, "version: 2 -> 3")]


async def test_relations_merge_and_the_surest_confidence_stands(store: GraphStore) -> None:
    await fill(store)
    await store.upsert_relations([Relation(CALLS, ("also",), 0.5, 5 * MS, 8 * MS, None)])
    assert (await store.snapshot()).relations[1] == Relation(CALLS, ("also", "test"), 0.9, 5 * MS, 10 * MS, None)


async def test_changes_come_no_more_than_were_asked_for(store: GraphStore) -> None:
    await fill(store)
    everything = list(await store.changes(0))
    assert list(await store.changes(0, limit=2)) == everything[:2]
    assert list(await store.changes(10 * MS, limit=9)) == everything[3:]


async def test_a_difference_is_what_lies_between_two_snapshots(store: GraphStore) -> None:
    await fill(store)
    await store.upsert_entities([entity(CHECKOUT, 25, version="2")])
    await store.expire([ORDERS], [], 30 * MS)
    for before, after in ((15, 40), (40, 15), (9, 22), (22, 31), (5, 5)):
        assert await store.diff(before * MS, after * MS) == difference(await store.snapshot(before * MS), await store.snapshot(after * MS))
    await store.upsert_relations([relation(RelationKey(CART, "calls", CHECKOUT), 35)])
    assert (await store.diff(32 * MS, 36 * MS)).appeared == ()
    found = await store.diff(15 * MS, 26 * MS)
    assert ([each.ref for each in found.appeared], [each.key for each in found.relations_appeared]) == ([ORDERS], [QUERIES])
    assert [(old.attributes, new.attributes) for old, new in found.changed] == [({}, {"version": "2"})]


async def test_compaction_forgets_what_ended_and_no_more_than_asked(store: GraphStore) -> None:
    await fill(store)
    await store.upsert_entities([entity(CHECKOUT, 25, version="2")])
    await store.expire([ORDERS], [], 30 * MS)
    since = [await store.snapshot(at) for at in (None, 30 * MS, 40 * MS)]
    assert [await store.compact(before * MS, most) for before, most in ((25, 9), (30, 9), (31, 1), (31, 9), (31, 9))] == [0, 1, 1, 1, 0]
    assert [await store.snapshot(at) for at in (None, 30 * MS, 40 * MS)] == since
    assert [(change.at, change.entity, change.relation) for change in await store.changes(0)] == [
        (10 * MS, CART, None), (10 * MS, CHECKOUT, CALLS), (25 * MS, CHECKOUT, None)
    ]  # fmt: skip


async def test_what_is_read_out_of_a_store_can_be_put_into_another(store: GraphStore) -> None:
    await fill(store)
    await store.upsert_entities([entity(CHECKOUT, 25, version="2")])
    await store.expire([ORDERS], [], 30 * MS)
    await store.upsert_entities([entity(ORDERS, 40)])
    await store.save_incidents([Incident("a", DefectRef(ORDERS, "slow"), IncidentState.OPEN, 10 * MS, None, None, 0.5, 0.5, ())])
    await store.save_incidents([WHOLE])
    await store.save_entity_changes([RESTARTED])
    await store.save_state("belief", b"\x00\xff")
    await store.save_attributes([attributes(CART, LATENCY, ERRORS), attributes(CHECKOUT, LATENCY)], [RelationDependencies(CALLS, (SLOW_WAITS,), ())])
    written = [record async for batch in store.records() for record in batch]
    other = MemoryGraphStore()
    for start in range(0, len(written), 3):
        await other.load(written[start : start + 3])
    assert [record async for batch in other.records() for record in batch] == written
    assert [await other.snapshot(at) for at in (None, 15 * MS, 35 * MS)] == [await store.snapshot(at) for at in (None, 15 * MS, 35 * MS)]
    await store.load(written)
    assert [record async for batch in store.records() for record in batch] == written


async def test_neighbours_of_the_past_are_those_of_then(store: GraphStore) -> None:
    await fill(store)
    await store.expire([], [QUERIES], 30 * MS)
    assert {each.ref for each in (await store.neighbours(CHECKOUT, depth=2, at=25 * MS)).entities} == {CART, CHECKOUT, ORDERS}
    assert {each.ref for each in (await store.neighbours(CHECKOUT, depth=2)).entities} == {CART, CHECKOUT}
    assert {each.ref for each in (await store.neighbours(CHECKOUT, depth=2, at=15 * MS)).entities} == {CART, CHECKOUT}
    assert (await store.neighbours(CHECKOUT, at=5 * MS)).entities == ()
