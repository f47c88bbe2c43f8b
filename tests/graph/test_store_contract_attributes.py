"""What every store must do with attributes, run over each implementation."""

from __future__ import annotations

from graph.attributes import RelationDependencies
from graph.store import GraphStore
from graph.topology import RelationKey
from schema.identity import EntityRef
from tests.graph.stored_shop import (
    CALLS,
    CART,
    CART_HAS,
    CHECKOUT,
    CHECKOUT_HAS,
    FAILS_WAIT,
    LATENCY,
    MS,
    ORDERS,
    ORDERS_HAS,
    OVER_CALLS,
    OVER_QUERIES,
    QUERIES,
    SLOW_WAITS,
    attributes,
    entity,
    fill,
    problems,
    relation,
)


async def attributed(store: GraphStore) -> None:
    await fill(store)
    await store.save_attributes([CART_HAS, CHECKOUT_HAS, ORDERS_HAS], [OVER_CALLS, OVER_QUERIES])


async def test_attributes_are_kept_of_what_is_present_and_told_with_what_depends_on_what(store: GraphStore) -> None:
    await attributed(store)
    nobody = EntityRef("service", "c", "shop", "nobody")
    await store.save_attributes([attributes(nobody, LATENCY)], [RelationDependencies(RelationKey(CART, "calls", nobody), (SLOW_WAITS,), ())])
    assert list(await store.attributes([CHECKOUT, ORDERS, nobody])) == [ORDERS_HAS, CHECKOUT_HAS, OVER_CALLS]
    assert list(await store.attributes([CART])) == [CART_HAS, OVER_QUERIES]
    assert await problems(store) == []


async def test_attributes_go_with_their_entity_and_dependencies_with_their_relation(store: GraphStore) -> None:
    await attributed(store)
    await store.expire([], [QUERIES], 30 * MS)
    assert list(await store.attributes([CART, ORDERS])) == [ORDERS_HAS, CART_HAS]
    await store.expire([CART], [], 30 * MS)
    assert list(await store.attributes([CART, CHECKOUT, ORDERS])) == [ORDERS_HAS, CHECKOUT_HAS]
    await store.upsert_entities([entity(CART, 40)])
    await store.upsert_relations([relation(CALLS, 40)])
    assert list(await store.attributes([CART, CHECKOUT])) == [CHECKOUT_HAS]
    await store.save_attributes([CART_HAS], [OVER_CALLS])
    assert list(await store.attributes([CART, CHECKOUT])) == [CART_HAS, CHECKOUT_HAS, OVER_CALLS]
    assert await problems(store) == []


async def test_other_attributes_of_an_entity_take_the_dependencies_along_and_the_same_leave_them(store: GraphStore) -> None:
    await attributed(store)
    await store.save_attributes([CART_HAS, CHECKOUT_HAS])
    assert list(await store.attributes([CART, CHECKOUT])) == [CART_HAS, CHECKOUT_HAS, OVER_QUERIES, OVER_CALLS]
    await store.save_attributes([attributes(CART, LATENCY)])
    assert list(await store.attributes([CART, CHECKOUT])) == [attributes(CART, LATENCY), CHECKOUT_HAS]
    await store.save_attributes([], [OVER_CALLS])  # what reads of attributes that an end does not have is left out
    assert list(await store.attributes([CHECKOUT])) == [CHECKOUT_HAS, RelationDependencies(CALLS, OVER_CALLS.of_source, ())]
    await store.save_attributes([], [RelationDependencies(CALLS, (SLOW_WAITS,), ())])
    assert list(await store.attributes([CHECKOUT])) == [CHECKOUT_HAS, RelationDependencies(CALLS, (SLOW_WAITS,), ())]
    await store.save_attributes([attributes(CART)])
    assert list(await store.attributes([CART, CHECKOUT])) == [CHECKOUT_HAS]
    assert await problems(store) == []


async def test_relations_of_one_kind_both_ways_keep_their_dependencies_apart(store: GraphStore) -> None:
    await fill(store)
    back = RelationKey(CART, "calls", CHECKOUT)
    await store.upsert_relations([relation(back, 10)])
    both = [RelationDependencies(CALLS, (SLOW_WAITS,), ()), RelationDependencies(back, (FAILS_WAIT,), (SLOW_WAITS,))]
    await store.save_attributes([CART_HAS, CHECKOUT_HAS], both)
    assert list(await store.attributes([CART, CHECKOUT])) == [CART_HAS, CHECKOUT_HAS, both[1], both[0]]
    await store.expire([], [back], 20 * MS)
    assert list(await store.attributes([CART, CHECKOUT])) == [CART_HAS, CHECKOUT_HAS, both[0]]


async def test_attributes_are_no_neighbours(store: GraphStore) -> None:
    await fill(store)
    before = [await store.neighbours(CHECKOUT, depth=2, at=at) for at in (None, 25 * MS)], await store.changes(0), await store.snapshot()
    await store.save_attributes([CART_HAS, CHECKOUT_HAS, ORDERS_HAS], [OVER_CALLS, OVER_QUERIES])
    assert ([await store.neighbours(CHECKOUT, depth=2, at=at) for at in (None, 25 * MS)], await store.changes(0), await store.snapshot()) == before
