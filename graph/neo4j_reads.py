"""What is asked of the Neo4j store, each question within the transaction of its caller: walks by frontier, the past by interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from graph import neo4j_statements as cypher
from graph.neo4j_rows import change_of, entity_interval_of, entity_of, milliseconds, relation_interval_of, relation_of
from graph.neo4j_walk import walk, walk_then
from graph.neo4j_writes import Transaction, listed, rows_of
from graph.records import EntityInterval, RelationInterval
from graph.topology import Difference, Direction, Entity, RelationKey, Snapshot, StructureChange
from graph.walks import difference, instant_of
from schema.identity import EntityRef

FOREVER = 2**62
PAGE, CHANGES_PAGE = 2_000, 20_000
HIGHEST = "\U0010ffff"  # no identity comes after it


async def get(transaction: Transaction, ref: EntityRef, at: int | None) -> Entity | None:
    """GraphStore.get."""
    rows = await listed(transaction, _at(cypher.GET, cypher.GET_THEN, at), id=str(ref), **_then(at))
    return entity_of(rows[0]) if rows else None


async def find(transaction: Transaction, kind: str | None, text: str, limit: int, after: EntityRef | None) -> Sequence[Entity]:
    """GraphStore.find."""
    sought = {"start": f"{kind}:" if kind else "", "text": text.lower(), "after": str(after) if after else "", "limit": limit}
    return [entity_of(row) for row in sorted(await listed(transaction, cypher.FIND, **sought))]


async def neighbours(transaction: Transaction, ref: EntityRef, depth: int, at: int | None, direction: Direction, most: int | None) -> Snapshot:
    """GraphStore.neighbours."""
    asked = {"id": str(ref), "most": FOREVER if most is None else max(1, most), **_then(at)}
    if at is None:
        found = (await rows_of(transaction, walk(depth, direction), **asked))[0]
        return _snapshot(found["entities"], found["relations"], at)
    entities = (await rows_of(transaction, walk_then(depth, direction), **asked))[0]["entities"]
    relations = await listed(transaction, cypher.RELATIONS_AMONG_THEN, ids=[row[0] for row in entities], **_then(at))
    return _snapshot(entities, relations, at)


async def onward(transaction: Transaction, source: EntityRef, longest: int) -> list[RelationKey]:
    """The relations that directed paths of up to `longest` steps from `source` can take."""
    found, seen, frontier = list[RelationKey](), {str(source)}, [str(source)]
    for _ in range(longest):
        rows = await listed(transaction, cypher.RELATIONS_ONWARD, ids=frontier)
        found += [RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target)) for source, kind, target in rows]
        frontier = sorted({row[2] for row in rows} - seen)
        seen.update(frontier)
        if not frontier:
            break
    return found


async def snapshot(transaction: Transaction, at: int | None) -> Snapshot:
    """GraphStore.snapshot."""
    entities, relations, after = list[Any](), list[Any](), ""
    while after != HIGHEST:
        end = (await rows_of(transaction, cypher.PAGE_END, after=after, limit=PAGE))[0]
        last = end["last"] if end["number"] == PAGE else HIGHEST
        page = {"after": after, "last": last, **_then(at)}
        entities += await listed(transaction, _at(cypher.ENTITIES, cypher.ENTITIES_THEN, at), **page)
        relations += await listed(transaction, _at(cypher.RELATIONS, cypher.RELATIONS_THEN, at), **page)
        after = last
    return _snapshot(entities, relations, at)


async def diff(transaction: Transaction, before: int, after: int) -> Difference:
    """GraphStore.diff."""
    return difference(await snapshot(transaction, before), await snapshot(transaction, after))


async def changes(transaction: Transaction, since: int, until: int | None, limit: int | None) -> Sequence[StructureChange]:
    """GraphStore.changes."""
    last = FOREVER if until is None else milliseconds(until)
    rows = await rows_of(transaction, cypher.CHANGES, since=milliseconds(since), until=last, limit=FOREVER if limit is None else limit)
    return [change_of(row) for row in rows]


async def changes_after(transaction: Transaction, place: Sequence[Any], limit: int) -> tuple[Sequence[StructureChange], Sequence[Any]]:
    """A page of all changes, and the place to go on from; `[-1]` is before the first."""
    rows = await rows_of(transaction, cypher.CHANGES_AFTER, since=place[0], after=place, limit=limit)
    return [change_of(row) for row in rows], rows[-1]["place"] if rows else place


async def entity_intervals(transaction: Transaction, ids: Sequence[str]) -> list[EntityInterval]:
    """All intervals of these entities, in order of identity and time."""
    found = [entity_interval_of(row) for row in await listed(transaction, cypher.ENTITY_INTERVALS, ids=ids)]
    return sorted(found, key=lambda each: (str(each.entity.ref), each.opened, math.inf if each.closed is None else each.closed))


async def relation_intervals(transaction: Transaction, ids: Sequence[str]) -> list[RelationInterval]:
    """All intervals of the relations from these entities, in order of their texts and time."""
    rows = await listed(transaction, cypher.RELATION_INTERVALS, ids=ids)
    rows.sort(key=lambda row: (row[0], row[1], row[2], row[11], math.inf if row[12] is None else row[12]))
    return [relation_interval_of(row) for row in rows]


def _snapshot(entity_rows: Sequence[Sequence[Any]], relation_rows: Sequence[Sequence[Any]], at: int | None) -> Snapshot:
    entities = {row[0]: entity_of(row) for row in sorted(entity_rows, key=lambda row: str(row[0]))}
    held = sorted((row for row in relation_rows if row[0] in entities and row[2] in entities), key=lambda row: (row[0], row[1], row[2]))
    relations = [relation_of(entities[row[0]].ref, entities[row[2]].ref, row) for row in held]
    return Snapshot(instant_of(entities.values(), at), tuple(entities.values()), tuple(relations))


def _at(now: str, then: str, at: int | None) -> str:
    return now if at is None else then


def _then(at: int | None) -> Mapping[str, int]:
    return {} if at is None else {"at": milliseconds(at)}
