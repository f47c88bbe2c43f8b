"""Attributes and dependencies in Neo4j: (:Entity)-[:HAS]->(:Attribute)-[:DEPENDS_ON]->(:Attribute), each verb within the transaction of its caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graph import neo4j_statements as cypher
from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.neo4j_rows import Row, relation_type
from graph.neo4j_writes import Transaction, batches, by_kind, listed, run
from graph.records import Record
from graph.topology import RelationKey
from schema.identity import EntityRef

SOURCE, TARGET = "source", "target"  # whose attribute depends on the other end's

LOCK_ENTITIES = "MATCH (e:Entity) WHERE e.id IN $ids SET e.cluster = e.cluster"
REMOVE = "MATCH (e:Entity)-[:HAS]->(a:Attribute) WHERE e.id IN $ids DETACH DELETE a"
CREATE = """
UNWIND $rows AS row
MATCH (e:Entity {id: row.id})
CALL (e, row) {
  UNWIND row.attributes AS attribute
  CREATE (e)-[:HAS]->(a:Attribute)
  SET a = attribute
}
CALL (row) {
  UNWIND row.dependencies AS each
  MATCH (effect:Attribute {id: each.effect})
  MATCH (cause:Attribute {id: each.cause})
  CREATE (effect)-[d:DEPENDS_ON]->(cause)
  SET d = each.properties
}
"""
LOCK_RELATIONS = """
UNWIND $rows AS row
MATCH (a:Entity {id: row.source})
MATCH (b:Entity {id: row.target})
MATCH (a)-[r:{type}]->(b)
SET r.kind = r.kind
"""
DEPEND = """
UNWIND $rows AS row
MATCH (a:Entity {id: row.source})
MATCH (b:Entity {id: row.target})
MATCH (a)-[r:{type}]->(b)
WITH a, b, row, r.kind AS kind
CALL (a, b, kind) {
  MATCH (a)-[:HAS]->(own:Attribute)-[old:DEPENDS_ON]-(:Attribute {entity: b.id}) WHERE old.over = kind AND (old.of = 'source') = (startNode(old) = own)
  DELETE old
}
CALL (row) {
  UNWIND row.dependencies AS each
  MATCH (effect:Attribute {id: each.effect})
  MATCH (cause:Attribute {id: each.cause})
  CREATE (effect)-[d:DEPENDS_ON]->(cause)
  SET d = each.properties
}
"""
ATTRIBUTES = """
MATCH (e:Entity)-[:HAS]->(a:Attribute) WHERE e.id IN $ids
RETURN collect([e.id, a.name, a.unit, a.measured, a.conditions]) AS rows
"""
WITHIN = """
MATCH (e:Entity)-[:HAS]->(effect:Attribute)-[d:DEPENDS_ON]->(cause:Attribute) WHERE e.id IN $ids AND d.over IS NULL
RETURN collect([e.id, effect.name, cause.name, d.strength, d.rules]) AS rows
"""
# The relation's source and kind, whose attribute it is, the relation's target, and the dependency.
OVER = """
CALL () {
  MATCH (e:Entity)-[:HAS]->(effect:Attribute)-[d:DEPENDS_ON]->(cause:Attribute) WHERE e.id IN $ids AND d.of = 'source'
  RETURN [e.id, d.over, d.of, cause.entity, effect.name, cause.name, d.strength, d.rules] AS row
  UNION ALL
  MATCH (e:Entity)-[:HAS]->(cause:Attribute)<-[d:DEPENDS_ON]-(effect:Attribute) WHERE e.id IN $ids AND d.of = 'target'
  RETURN [e.id, d.over, d.of, effect.entity, effect.name, cause.name, d.strength, d.rules] AS row
}
RETURN collect(row) AS rows
"""


async def save_attributes(transaction: Transaction, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies]) -> None:
    """GraphStore.save_attributes."""
    for told in batches(sorted(entities, key=lambda each: str(each.entity))):
        await run(transaction, LOCK_ENTITIES, ids=[str(each.entity) for each in told])
        standing = {each.entity: each for each in await attributes(transaction, [str(each.entity) for each in told]) if isinstance(each, EntityAttributes)}
        changed = [each for each in told if standing.get(each.entity) != each]
        if other := [str(each.entity) for each in changed if each.entity in standing]:
            await run(transaction, REMOVE, ids=other)
        await run(transaction, CREATE, rows=[_entity_row(each) for each in changed])
    for kind, of_kind in by_kind(relations, lambda each: each.relation.kind):
        for batch in batches(sorted(map(_relation_row, of_kind), key=lambda row: (row["source"], row["target"]))):
            await run(transaction, cypher.of_type(LOCK_RELATIONS, relation_type(kind)), rows=batch)
            await run(transaction, cypher.of_type(DEPEND, relation_type(kind)), rows=batch)


async def load(transaction: Transaction, records: Sequence[Record]) -> None:
    """GraphStore.load, of what is told of attributes."""
    entities = [record for record in records if isinstance(record, EntityAttributes)]
    await save_attributes(transaction, entities, [record for record in records if isinstance(record, RelationDependencies)])


async def attributes(transaction: Transaction, ids: Sequence[str]) -> Sequence[EntityAttributes | RelationDependencies]:
    """GraphStore.attributes, of entities by their texts."""
    return [*await entity_attributes(transaction, ids), *await relation_dependencies(transaction, ids)]


async def entity_attributes(transaction: Transaction, ids: Sequence[str]) -> list[EntityAttributes]:
    """Of these entities, in ascending identity."""
    quantities: dict[str, list[Quantity]] = {}
    for id_, name, unit, measured, conditions in await listed(transaction, ATTRIBUTES, ids=ids):
        quantities.setdefault(id_, []).append(Quantity(name, unit, measured, tuple(conditions)))
    within: dict[str, list[Dependency]] = {}
    for id_, effect, cause, strength, rules in await listed(transaction, WITHIN, ids=ids):
        within.setdefault(id_, []).append(Dependency(effect, cause, strength, tuple(rules)))
    return [EntityAttributes(EntityRef.parse(id_), tuple(sorted(quantities[id_])), tuple(sorted(within.get(id_, ())))) for id_ in sorted(quantities)]


async def relation_dependencies(transaction: Transaction, ids: Sequence[str]) -> list[RelationDependencies]:
    """Of the relations from these entities, in ascending order of their texts."""
    over: dict[tuple[str, str, str], dict[str, list[Dependency]]] = {}
    for id_, relation, of, other, effect, cause, strength, rules in await listed(transaction, OVER, ids=ids):
        over.setdefault((id_, relation, other), {SOURCE: [], TARGET: []})[of].append(Dependency(effect, cause, strength, tuple(rules)))
    return [_dependencies_of(key, over[key]) for key in sorted(over)]


def _entity_row(told: EntityAttributes) -> Row:
    entity = str(told.entity)
    return {
        "id": entity,
        "attributes": [
            {"id": f"{entity}.{each.name}", "entity": entity, "name": each.name, "unit": each.unit, "measured": each.measured, "conditions": each.conditions}
            for each in told.attributes
        ],
        "dependencies": list(_dependency_rows(told.dependencies, entity, entity, {})),
    }


def _relation_row(told: RelationDependencies) -> Row:
    source, over, target = str(told.relation.source), told.relation.kind, str(told.relation.target)
    return {
        "source": source,
        "target": target,
        "dependencies": [
            *_dependency_rows(told.of_source, source, target, {"over": over, "of": SOURCE}),
            *_dependency_rows(told.of_target, target, source, {"over": over, "of": TARGET}),
        ],
    }


def _dependency_rows(dependencies: Iterable[Dependency], effects: str, causes: str, more: Row) -> Iterable[Row]:
    for each in dependencies:
        properties = {"strength": each.strength, "rules": each.rules, **more}
        yield {"effect": f"{effects}.{each.effect}", "cause": f"{causes}.{each.cause}", "properties": properties}


def _dependencies_of(key: tuple[str, str, str], held: dict[str, Any]) -> RelationDependencies:
    source, kind, target = key
    relation = RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target))
    return RelationDependencies(relation, tuple(sorted(held[SOURCE])), tuple(sorted(held[TARGET])))
