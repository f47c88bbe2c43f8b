"""Heartbeats of the Neo4j store: a batch of identities travels as one text, which costs the client a hundredth of packing each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from graph import neo4j_statements as cypher
from graph.neo4j_rows import milliseconds, relation_type
from graph.neo4j_writes import Transaction, batches, by_kind, rows_of
from graph.topology import RelationKey
from schema.identity import EntityRef

# What a heartbeat returns is how many were there.
TOUCH_ENTITIES = """
UNWIND split($ids, $between) AS id
MATCH (e:Entity {id: id})
SET e.cluster = e.cluster
SET e.last_seen = CASE WHEN e.last_seen < $at THEN $at ELSE e.last_seen END
RETURN count(*) AS written
"""
# A row is a source, then its targets.
TOUCH_RELATIONS = """
UNWIND split($rows, $between) AS row
WITH split(row, $within) AS ends
MATCH (a:Entity {id: ends[0]})
UNWIND ends[1..] AS target
MATCH (b:Entity {id: target})
MATCH (a)-[r:{type}]->(b)
SET r.kind = r.kind
SET r.last_seen = CASE WHEN r.last_seen < $at THEN $at ELSE r.last_seen END
RETURN count(*) AS written
"""


async def touch(transaction: Transaction, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> Sequence[EntityRef | RelationKey]:
    """GraphStore.touch."""
    missing = set[str]()
    for ids in batches(sorted(map(str, entities))):
        if await _touch_entities(transaction, ids, at) < len(ids):
            missing.update(row["id"] for row in await rows_of(transaction, cypher.MISSING_ENTITIES, ids=ids))
    lost = set[tuple[str, str, str]]()
    for kind, of_kind in by_kind(relations, lambda key: key.kind):
        for pairs in batches(sorted((str(key.source), str(key.target)) for key in of_kind)):
            if await _touch_relations(transaction, kind, pairs, at) < len(pairs):
                asked = [{"source": source, "target": target} for source, target in pairs]
                found = await rows_of(transaction, cypher.of_type(cypher.MISSING_RELATIONS, relation_type(kind)), rows=asked)
                lost.update((row["source"], kind, row["target"]) for row in found)
    return [ref for ref in entities if str(ref) in missing] + [key for key in relations if (str(key.source), key.kind, str(key.target)) in lost]


async def _touch_entities(transaction: Transaction, ids: Sequence[str], at: int) -> int:
    between = next(_separators(ids))
    told = await rows_of(transaction, TOUCH_ENTITIES, ids=between.join(ids), between=between, at=milliseconds(at))
    written: int = told[0]["written"]
    return written


async def _touch_relations(transaction: Transaction, kind: str, pairs: Sequence[tuple[str, str]], at: int) -> int:
    separators = _separators(end for pair in pairs for end in pair)
    between, within = next(separators), next(separators)
    rows = between.join(within.join((source, *(target for _, target in group))) for source, group in groupby(pairs, itemgetter(0)))
    statement = cypher.of_type(TOUCH_RELATIONS, relation_type(kind))
    told = await rows_of(transaction, statement, rows=rows, between=between, within=within, at=milliseconds(at))
    written: int = told[0]["written"]
    return written


def _separators(texts: Iterable[str]) -> Iterator[str]:
    """Characters that none of the texts holds, ASCII's own separators first."""
    together = "".join(texts)
    return (char for char in map(chr, (0x1E, 0x1F, *range(0xE000, 0xF900), *range(0x100000, 0x10FFFE))) if char not in together)
