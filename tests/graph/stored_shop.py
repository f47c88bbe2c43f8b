"""Three entities, two relations and their attributes, as the contract's tests put them into stores."""

from __future__ import annotations

from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.checking import check
from graph.store import GraphStore
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef

MS = 1_000_000  # stores may keep times to the millisecond
CART, CHECKOUT, ORDERS = (
    EntityRef("service", "c", "shop", "cart"),
    EntityRef("service", "c", "shop", "checkout"),
    EntityRef("database", "c", "shop", "orders"),
)
SHOP = EntityRef("service", "c", "shop", "shop")
CALLS = RelationKey(CHECKOUT, "calls", CART)
QUERIES = RelationKey(CART, "queries", ORDERS)


def entity(ref: EntityRef, seen: int, **attributes: str) -> Entity:
    return Entity(ref, attributes, ("test",), seen * MS, seen * MS)


def relation(key: RelationKey, seen: int) -> Relation:
    return Relation(key, ("test",), 0.9, seen * MS, seen * MS, None)


LATENCY, ERRORS, HIDDEN = (
    Quantity("latency", "s", measured=True, conditions=("latency_high", "latency_low")),
    Quantity("error_ratio", "1", measured=True, conditions=("errors_high",)),
    Quantity("work_slow", "", measured=False, conditions=("work_slow",)),
)
LATE_FAILS = Dependency("error_ratio", "latency", 0.3, ("latency_high -> errors_high",))
SLOW_WAITS = Dependency("latency", "latency", 0.35, ("latency_high -> latency_high: 0.98 * share_of_latency_excess",))
FAILS_WAIT = Dependency("error_ratio", "latency", 0.05, ("latency_high -> errors_high",))


def attributes(ref: EntityRef, *quantities: Quantity, inside: tuple[Dependency, ...] = ()) -> EntityAttributes:
    return EntityAttributes(ref, tuple(sorted(quantities)), inside)


CART_HAS = attributes(CART, LATENCY, ERRORS, inside=(LATE_FAILS,))
CHECKOUT_HAS, ORDERS_HAS = attributes(CHECKOUT, LATENCY, ERRORS, HIDDEN), attributes(ORDERS, LATENCY)
OVER_CALLS = RelationDependencies(CALLS, (FAILS_WAIT, SLOW_WAITS), (Dependency("error_ratio", "work_slow", 0.9, ()),))
OVER_QUERIES = RelationDependencies(QUERIES, (SLOW_WAITS,), ())


async def fill(store: GraphStore) -> None:
    await store.upsert_entities([entity(CART, 10), entity(CHECKOUT, 10), entity(ORDERS, 20)])
    await store.upsert_relations([relation(CALLS, 10), relation(QUERIES, 20)])


async def problems(store: GraphStore) -> list[str]:
    return list((await check(store.records())).problems)
