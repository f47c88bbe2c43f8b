"""Records as lines of JSON: what `whence store export` writes and `import` reads. Identities are texts, times epoch nanoseconds."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureChange, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Incident, IncidentState


class RecordError(ValueError):
    """A line that is no record; the message says why."""


def record_line(record: Record) -> bytes:
    """One line, without its end."""
    if isinstance(record, EntityInterval):
        content = {"entity": entity_value(record.entity), "opened": record.opened, "closed": record.closed, "told": record.told}
    elif isinstance(record, RelationInterval):
        content = {"relation": relation_value(record.relation), "opened": record.opened, "closed": record.closed}
    elif isinstance(record, StructureChange):
        key = None if record.relation is None else key_value(record.relation)
        content = {"change": record.event.value, "at": record.at, "ref": str(record.entity), "key": key, "detail": record.detail}
    elif isinstance(record, SavedState):
        content = {"state": record.name, "content": base64.b64encode(record.content).decode()}
    else:
        content = {"incident": incident_value(record)}
    return orjson.dumps(content)


def record_of(line: bytes) -> Record:
    """The reverse of `record_line`. Raises RecordError."""
    try:
        row = orjson.loads(line)
        if "entity" in row:
            return EntityInterval(entity_from(row["entity"]), row["opened"], row["closed"], row["told"])
        if "relation" in row:
            return RelationInterval(relation_from(row["relation"]), row["opened"], row["closed"])
        if "change" in row:
            key = None if row["key"] is None else key_from(row["key"])
            return StructureChange(row["at"], StructureEvent(row["change"]), EntityRef.parse(row["ref"]), key, row["detail"])
        if "state" in row:
            return SavedState(row["state"], base64.b64decode(row["content"], validate=True))
        return incident_from(row["incident"])
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise RecordError(f"it is no record of a store ({type(wrong).__name__}: {wrong})") from wrong


def entity_value(entity: Entity) -> dict[str, Any]:
    """JSON of an entity."""
    return {
        "ref": str(entity.ref), "attributes": dict(entity.attributes), "sources": entity.sources, "first_seen": entity.first_seen, "last_seen": entity.last_seen
    }  # fmt: skip


def entity_from(row: Any) -> Entity:
    """The reverse of entity_value."""
    return Entity(EntityRef.parse(row["ref"]), row["attributes"], tuple(row["sources"]), row["first_seen"], row["last_seen"])


def key_value(key: RelationKey) -> list[str]:
    """JSON of a relation's key."""
    return [str(key.source), key.kind, str(key.target)]


def key_from(row: Any) -> RelationKey:
    """The reverse of key_value."""
    source, kind, target = row
    return RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target))


def relation_value(relation: Relation) -> dict[str, Any]:
    """JSON of a relation."""
    return {
        "key": key_value(relation.key), "sources": relation.sources, "confidence": relation.confidence,
        "first_seen": relation.first_seen, "last_seen": relation.last_seen, "statistics": relation.statistics,
    }  # fmt: skip


def relation_from(row: Any) -> Relation:
    """The reverse of relation_value."""
    statistics = None if row["statistics"] is None else RelationStatistics(**row["statistics"])
    return Relation(key_from(row["key"]), tuple(row["sources"]), row["confidence"], row["first_seen"], row["last_seen"], statistics)


def incident_value(incident: Incident) -> dict[str, Any]:
    """JSON of an incident."""
    return {
        "id": incident.id,
        "entity": str(incident.cause.entity),
        "defect": incident.cause.defect,
        "state": incident.state.value,
        "opened_at": incident.opened_at,
        "onset": incident.onset,
        "closed_at": incident.closed_at,
        "probability": incident.probability,
        "peak_probability": incident.peak_probability,
        "symptoms": [[str(symptom.entity), symptom.condition] for symptom in incident.symptoms],
    }


def incident_from(row: Any) -> Incident:
    """The reverse of incident_value."""
    return Incident(
        id=row["id"],
        cause=DefectRef(EntityRef.parse(row["entity"]), row["defect"]),
        state=IncidentState(row["state"]),
        opened_at=row["opened_at"],
        onset=row["onset"],
        closed_at=row["closed_at"],
        probability=row["probability"],
        peak_probability=row["peak_probability"],
        symptoms=tuple(ConditionRef(EntityRef.parse(entity), condition) for entity, condition in row["symptoms"]),
    )
