"""The write verbs of the Neo4j store, each within the transaction of its caller, in batches of one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import orjson
from neo4j import AsyncManagedTransaction

from graph import neo4j_statements as cypher
from graph.merging import change_detail
from graph.neo4j_rows import (
    Row,
    change_row,
    entity_interval_row,
    entity_row,
    key_row,
    kind_label,
    milliseconds,
    relation_interval_row,
    relation_row,
    relation_type,
)
from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.store import StoreError
from graph.topology import Entity, Relation, RelationKey, StructureChange
from schema.identity import EntityRef

Transaction = AsyncManagedTransaction
Item = TypeVar("Item")
BATCH = 5_000


async def rows_of(transaction: Transaction, statement: str, **parameters: object) -> list[Row]:
    """What a statement returns."""
    return await (await transaction.run(statement, parameters)).data()


async def listed(transaction: Transaction, statement: str, **parameters: object) -> list[Any]:
    """What a statement returns as one list."""
    found = await (await transaction.run(statement, parameters)).single(strict=True)
    rows: list[Any] = found["rows"]
    return rows


async def run(transaction: Transaction, statement: str, **parameters: object) -> None:
    """Runs a statement for its effect."""
    await (await transaction.run(statement, parameters)).consume()


async def upsert_entities(transaction: Transaction, entities: Sequence[Entity]) -> None:
    """GraphStore.upsert_entities."""
    told = {str(entity.ref): entity for entity in entities}
    for batch in batches([entity_row(entity) for entity in sorted(entities, key=lambda entity: str(entity.ref))]):
        turned = await rows_of(transaction, cypher.UPSERT_ENTITIES, rows=await _without_gone(transaction, batch))
        if turned:
            details = [{"id": row["id"], "detail": change_detail(orjson.loads(row["attributes"]), told[row["id"]].attributes)} for row in turned]
            await run(transaction, cypher.DETAIL_CHANGES, rows=details)


async def _without_gone(transaction: Transaction, rows: Sequence[Row]) -> Sequence[Row]:
    """Brings back those that were seen since they expired; the rows without the others."""
    gone = {row["id"] for row in await rows_of(transaction, cypher.GONE_ENTITIES, ids=[row["properties"]["id"] for row in rows])}
    if not gone:
        return rows
    expired = [row for row in rows if row["properties"]["id"] in gone]
    stay = {row["id"] for row in await rows_of(transaction, cypher.RETURN_ENTITIES, rows=expired)}
    return [row for row in rows if row["properties"]["id"] not in stay]


async def upsert_relations(transaction: Transaction, relations: Sequence[Relation]) -> None:
    """GraphStore.upsert_relations."""
    complete = 0
    for kind, of_kind in by_kind(relations, lambda relation: relation.key.kind):
        for batch in batches(sorted(map(relation_row, of_kind), key=itemgetter("source", "target"))):
            merged = await _written(transaction, cypher.MERGE_RELATIONS, kind, rows=batch)
            if merged < len(batch):
                found = (await rows_of(transaction, cypher.of_type(cypher.CREATE_RELATIONS, relation_type(kind)), kind=kind, rows=batch))[0]
                if merged + found["made"] < found["written"]:
                    await _written(transaction, cypher.MERGE_RELATIONS, kind, rows=batch)
                merged = found["written"]
            complete += merged
    if complete < len(relations):
        raise StoreError(await _missing_end(transaction, relations))


async def expire(transaction: Transaction, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
    """GraphStore.expire."""
    for kind, of_kind in by_kind(list(set(relations)), lambda key: key.kind):
        for batch in batches(sorted(map(key_row, of_kind), key=itemgetter("source", "target"))):
            await run(transaction, cypher.of_type(cypher.EXPIRE_RELATIONS, relation_type(kind)), rows=batch, at=milliseconds(at))
    for batch in batches([{"id": str(ref), "label": kind_label(ref.kind)} for ref in sorted(set(entities), key=str)]):
        await run(transaction, cypher.EXPIRE_ATTRIBUTES, rows=batch, at=milliseconds(at))
        await run(transaction, cypher.EXPIRE_RELATIONS_OF_ENTITIES, rows=batch, at=milliseconds(at))
        await run(transaction, cypher.EXPIRE_ENTITIES, rows=batch, at=milliseconds(at))


async def compact(transaction: Transaction, before: int, most: int) -> int:
    """GraphStore.compact."""
    bound = -(-before // 1_000_000)  # closed before it, to the nanosecond, is closed in an earlier millisecond
    forgotten: int = (await rows_of(transaction, cypher.COMPACT, before=bound, most=most))[0]["forgotten"]
    if forgotten:
        for statement in (cypher.COMPACT_CHANGES, cypher.COMPACT_RELATION_CHANGES, cypher.COMPACT_GONE):
            await run(transaction, statement, before=bound)
    return forgotten


async def load(transaction: Transaction, records: Sequence[Record]) -> None:
    """GraphStore.load."""
    entities = [entity_interval_row(record) for record in records if isinstance(record, EntityInterval)]
    for batch in batches([row for row in entities if row["closed"] is not None]):
        await run(transaction, cypher.LOAD_PAST_ENTITIES, rows=batch)
    for batch in batches([row for row in entities if row["closed"] is None]):
        await run(transaction, cypher.LOAD_ENTITIES, rows=batch)
    for kind, of_kind in by_kind([record for record in records if isinstance(record, RelationInterval)], lambda record: record.relation.key.kind):
        relations = [relation_interval_row(record) for record in of_kind]
        for batch in batches([row for row in relations if row["closed"] is not None]):
            await run(transaction, cypher.LOAD_PAST_RELATIONS, rows=batch, kind=kind)
        for batch in batches([row for row in relations if row["closed"] is None]):
            await run(transaction, cypher.of_type(cypher.LOAD_RELATIONS, relation_type(kind)), rows=batch, kind=kind)
    for batch in batches([change_row(record) for record in records if isinstance(record, StructureChange)]):
        await run(transaction, cypher.LOAD_CHANGES, rows=batch)
    for record in records:
        if isinstance(record, SavedState):
            await run(transaction, cypher.SAVE_STATE, name=record.name, content=record.content)


async def _written(transaction: Transaction, statement: str, kind: str | None = None, **parameters: object) -> int:
    typed = statement if kind is None else cypher.of_type(statement, relation_type(kind))
    written: int = (await rows_of(transaction, typed, kind=kind, **parameters))[0]["written"]
    return written


async def _missing_end(transaction: Transaction, relations: Sequence[Relation]) -> str:
    ends = {str(end) for relation in relations for end in (relation.key.source, relation.key.target)}
    missing = {row["id"] for batch in batches(sorted(ends)) for row in await rows_of(transaction, cypher.MISSING_ENTITIES, ids=batch)}
    kind, end = next((each.key.kind, end) for each in relations for end in (each.key.source, each.key.target) if str(end) in missing)
    return f"The relation {kind} needs its end {end}, which the store does not hold: upsert entities first."


def batches(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    """BATCH at a time."""
    """BATCH of them at a time."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def by_kind(items: Sequence[Item], kind_of: Callable[[Item], Any]) -> Iterable[tuple[str, list[Item]]]:
    """In order of the kinds. All writers take their locks in one order: of kinds, then of identities as texts."""
    kinds: dict[str, list[Item]] = {}
    for item in items:
        kinds.setdefault(kind_of(item), []).append(item)
    return sorted(kinds.items())
