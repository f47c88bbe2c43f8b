"""Records as lines of JSON: what `whence store export` writes and `import` reads. Identities are texts, times epoch nanoseconds."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureChange, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Effect, EntityChange, Evidence, Finding, Incident, IncidentState
from schema.windows import ChangeKind


class RecordError(ValueError):
    """A line that is no record; the message says why."""


def record_line(record: Record) -> bytes:
    """One line, without its end."""
    if isinstance(record, EntityInterval):
        content = {"entity": entity_value(record.entity), "opened": record.opened, "closed": record.closed, "told": record.told}
    elif isinstance(record, RelationInterval):
        content = {"relation": relation_value(record.relation), "opened": record.opened, "closed": record.closed}
    elif isinstance(record, EntityAttributes):
        content = {"attributes": str(record.entity), "quantities": record.attributes, "dependencies": record.dependencies}
    elif isinstance(record, RelationDependencies):
        content = {"dependencies": key_value(record.relation), "of_source": record.of_source, "of_target": record.of_target}
    elif isinstance(record, StructureChange):
        key = None if record.relation is None else key_value(record.relation)
        content = {"change": record.event.value, "at": record.at, "ref": str(record.entity), "key": key, "detail": record.detail}
    elif isinstance(record, EntityChange):
        content = {"entity_change": entity_change_value(record)}
    elif isinstance(record, SavedState):
        content = {"state": record.name, "content": base64.b64encode(record.content).decode()}
    else:
        content = {"incident": incident_value(record)}
    return orjson.dumps(content)


def record_of(line: bytes) -> Record:
    """The reverse of `record_line`. Raises RecordError."""
    try:
        row = orjson.loads(line)
        name = next((name for name in _READERS if name in row), "")
        return _READERS[name](row)
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise RecordError(f"it is no record of a store ({type(wrong).__name__}: {wrong})") from wrong


def _change_of(row: Any) -> StructureChange:
    key = None if row["key"] is None else key_from(row["key"])
    return StructureChange(row["at"], StructureEvent(row["change"]), EntityRef.parse(row["ref"]), key, row["detail"])


def _attributes_of(row: Any) -> EntityAttributes:
    return EntityAttributes(EntityRef.parse(row["attributes"]), quantities_of(row["quantities"]), dependencies_of(row["dependencies"]))


def _dependencies_of(row: Any) -> RelationDependencies:
    return RelationDependencies(key_from(row["dependencies"]), dependencies_of(row["of_source"]), dependencies_of(row["of_target"]))


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


def quantities_of(rows: Any) -> tuple[Quantity, ...]:
    """From the JSON of quantities."""
    return tuple(Quantity(row["name"], row["unit"], row["measured"], tuple(row["conditions"])) for row in rows)


def dependencies_of(rows: Any) -> tuple[Dependency, ...]:
    """From the JSON of dependencies."""
    return tuple(Dependency(row["effect"], row["cause"], row["strength"], tuple(row["rules"])) for row in rows)


def entity_change_value(change: EntityChange) -> dict[str, Any]:
    """JSON of what was done to an entity."""
    return {"at": change.at, "entity": str(change.entity), "kind": change.kind.value, "detail": change.detail}


def entity_change_from(row: Any) -> EntityChange:
    """The reverse of entity_change_value."""
    return EntityChange(row["at"], EntityRef.parse(row["entity"]), ChangeKind(row["kind"]), row["detail"])


def evidence_value(evidence: Evidence) -> dict[str, Any]:
    """JSON of evidence."""
    finding = evidence.finding
    return {
        "entity": str(finding.condition.entity), "condition": finding.condition.condition, "weight": evidence.weight,
        "log_likelihood_ratio": finding.log_likelihood_ratio, "onset": finding.onset, "amount": finding.amount, "unit": finding.unit,
        "observed": finding.observed,
    }  # fmt: skip


def evidence_from(row: Any) -> Evidence:
    """The reverse of evidence_value."""
    condition = ConditionRef(EntityRef.parse(row["entity"]), row["condition"])
    return Evidence(Finding(condition, row["log_likelihood_ratio"], row["onset"], row["amount"], row["unit"], row["observed"]), row["weight"])


def effect_value(effect: Effect) -> dict[str, Any]:
    """JSON of an impact's effect."""
    return {"entity": str(effect.condition.entity), "condition": effect.condition.condition, "before": effect.before, "after": effect.after}


def effect_from(row: Any) -> Effect:
    """The reverse of effect_value."""
    return Effect(ConditionRef(EntityRef.parse(row["entity"]), row["condition"]), row["before"], row["after"])


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
        "evidence": [evidence_value(each) for each in incident.evidence],
        "impacts": [effect_value(each) for each in incident.impacts],
        "changes": [entity_change_value(each) for each in incident.changes],
    }


def incident_from(row: Any) -> Incident:
    """The reverse of incident_value; what an older Whence did not keep is empty."""
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
        evidence=tuple(map(evidence_from, row.get("evidence", ()))),
        impacts=tuple(map(effect_from, row.get("impacts", ()))),
        changes=tuple(map(entity_change_from, row.get("changes", ()))),
    )


# By the key that a record's line begins with.
_READERS: Mapping[str, Callable[[Any], Record]] = {
    "entity": lambda row: EntityInterval(entity_from(row["entity"]), row["opened"], row["closed"], row["told"]),
    "relation": lambda row: RelationInterval(relation_from(row["relation"]), row["opened"], row["closed"]),
    "attributes": _attributes_of,
    "dependencies": _dependencies_of,
    "change": _change_of,
    "entity_change": lambda row: entity_change_from(row["entity_change"]),
    "state": lambda row: SavedState(row["state"], base64.b64decode(row["content"], validate=True)),
    "incident": lambda row: incident_from(row["incident"]),
}
