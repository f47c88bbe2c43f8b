"""Properties of Neo4j's nodes and relationships to values and back. Neo4j keeps times as epoch milliseconds: Cypher's own unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from graph.merging import attributes_json
from graph.records import EntityInterval, RelationInterval
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureChange, StructureEvent
from schema.identity import EntityRef

Row = dict[str, Any]
MILLISECOND = 1_000_000
# What Whence itself says of an entity; everything else that its node carries is an attribute.
OWN = frozenset({"id", "kind", "cluster", "namespace", "name", "sources", "first_seen", "last_seen", "opened", "closed", "told", "attributes"})
ESCAPE = "attribute."


def milliseconds(at: int) -> int:
    """Epoch nanoseconds to epoch milliseconds, rounded down."""
    return at // MILLISECOND


def kind_label(kind: str) -> str:
    """external_service: ExternalService."""
    return "".join(part[:1].upper() + part[1:] for part in kind.split("_"))


def relation_type(kind: str) -> str:
    """runs_on: `RUNS_ON`, quoted to stand in a statement."""
    return f"`{kind.upper().replace('`', '``')}`"


def entity_row(entity: Entity) -> Row:
    """The label of its kind, and the properties of its node: each attribute as one, and all of them as one text, to compare."""
    ref = entity.ref
    attributes = {ESCAPE + name if name in OWN or name.startswith(ESCAPE) else name: value for name, value in entity.attributes.items()}
    return {
        "label": kind_label(ref.kind),
        "properties": {
            **attributes,
            "id": str(ref),
            "kind": ref.kind,
            "cluster": ref.cluster,
            "namespace": ref.namespace,
            "name": ref.name,
            "sources": list(entity.sources),
            "first_seen": milliseconds(entity.first_seen),
            "last_seen": milliseconds(entity.last_seen),
            "told": milliseconds(entity.last_seen),
            "attributes": attributes_json(entity.attributes),
        },
    }


def entity_of(row: Sequence[Any]) -> Entity:
    """id, attributes, sources, first_seen, last_seen."""
    return Entity(EntityRef.parse(row[0]), orjson.loads(row[1]), tuple(row[2]), row[3] * MILLISECOND, row[4] * MILLISECOND)


def key_row(key: RelationKey) -> Row:
    """The ends of a relation."""
    return {"source": str(key.source), "target": str(key.target)}


def relation_row(relation: Relation) -> Row:
    """Its ends, what is merged, and what is replaced each time: where that is None, the relationship loses the property."""
    statistics = relation.statistics
    return {
        **key_row(relation.key),
        "sources": list(relation.sources),
        "confidence": relation.confidence,
        "first_seen": milliseconds(relation.first_seen),
        "last_seen": milliseconds(relation.last_seen),
        "statistics": {
            "requests": statistics.requests if statistics else None,
            "errors": statistics.errors if statistics else None,
            "duration_seconds": statistics.duration if statistics else None,
            "window_seconds": statistics.seconds if statistics else None,
        },
    }


def relation_of(source: EntityRef, target: EntityRef, row: Sequence[Any]) -> Relation:
    """source, kind, target, sources, confidence, first_seen, last_seen, requests, errors, duration_seconds, window_seconds."""
    _, kind, _, sources, confidence, first, last, requests, errors, duration, window = row[:11]
    statistics = None if requests is None else RelationStatistics(window, requests, errors, duration)
    return Relation(RelationKey(source, kind, target), tuple(sources), confidence, first * MILLISECOND, last * MILLISECOND, statistics)


def change_row(change: StructureChange) -> Row:
    """The properties of its node."""
    ends: Row = {"source": None, "kind": None, "target": None}
    if change.relation is not None:
        ends = {**key_row(change.relation), "kind": change.relation.kind}
    return {"at": milliseconds(change.at), "event": change.event.value, "entity": str(change.entity), "detail": change.detail, **ends}


def change_of(row: Mapping[str, Any]) -> StructureChange:
    """The reverse of change_row; a change without detail has none."""
    relation = RelationKey(EntityRef.parse(row["source"]), row["kind"], EntityRef.parse(row["target"])) if row["source"] else None
    return StructureChange(row["at"] * MILLISECOND, StructureEvent(row["event"]), EntityRef.parse(row["entity"]), relation, row["detail"] or "")


def entity_interval_row(interval: EntityInterval) -> Row:
    """As entity_row, and when it began and ended."""
    row = entity_row(interval.entity)
    row["properties"]["told"] = milliseconds(interval.told)
    return {**row, "opened": milliseconds(interval.opened), "closed": None if interval.closed is None else milliseconds(interval.closed)}


def entity_interval_of(row: Sequence[Any]) -> EntityInterval:
    """As entity_of, then opened, closed, told."""
    return EntityInterval(entity_of(row), row[5] * MILLISECOND, instant_of(row[6]), row[7] * MILLISECOND)


def relation_interval_row(interval: RelationInterval) -> Row:
    """As relation_row, and when it began and ended."""
    closed = None if interval.closed is None else milliseconds(interval.closed)
    return {**relation_row(interval.relation), "opened": milliseconds(interval.opened), "closed": closed}


def relation_interval_of(row: Sequence[Any]) -> RelationInterval:
    """As relation_of, then opened, closed."""
    return RelationInterval(relation_of(EntityRef.parse(row[0]), EntityRef.parse(row[2]), row), row[11] * MILLISECOND, instant_of(row[12]))


def instant_of(at: int | None) -> int | None:
    """Epoch milliseconds to epoch nanoseconds; None stays None."""
    return None if at is None else at * MILLISECOND
