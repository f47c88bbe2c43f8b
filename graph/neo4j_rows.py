"""Properties of Neo4j's nodes and relationships to values and back. Neo4j keeps times as epoch milliseconds: Cypher's own unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from graph.topology import Entity, Relation, RelationKey, RelationStatistics, StructureChange, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Incident, IncidentState

Row = dict[str, Any]
MILLISECOND = 1_000_000
# What Whence itself says of an entity; everything else that its node carries is an attribute.
OWN = frozenset({"id", "kind", "cluster", "namespace", "name", "sources", "first_seen", "last_seen", "opened", "closed", "fingerprint"})
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
    """The label of its kind, and the properties of its node."""
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
            "fingerprint": _fingerprint(attributes),
        },
    }


def _fingerprint(attributes: Mapping[str, str]) -> str:
    return blake2b(orjson.dumps(attributes, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest() if attributes else ""


def entity_of(properties: Mapping[str, Any]) -> Entity:
    """The reverse of entity_row."""
    ref = EntityRef(properties["kind"], properties["cluster"], properties["namespace"], properties["name"])
    attributes = {name.removeprefix(ESCAPE): value for name, value in properties.items() if name not in OWN}
    return Entity(ref, attributes, tuple(properties["sources"]), properties["first_seen"] * MILLISECOND, properties["last_seen"] * MILLISECOND)


def key_row(key: RelationKey) -> Row:
    """The ends of a relation."""
    return {"source": str(key.source), "target": str(key.target)}


def relation_row(relation: Relation) -> Row:
    """Its ends, when it was seen, and what is replaced each time: where it is None, the relationship loses the property."""
    statistics = relation.statistics
    return {
        **key_row(relation.key),
        "first_seen": milliseconds(relation.first_seen),
        "last_seen": milliseconds(relation.last_seen),
        "properties": {
            "sources": list(relation.sources),
            "confidence": relation.confidence,
            "requests": statistics.requests if statistics else None,
            "errors": statistics.errors if statistics else None,
            "duration_seconds": statistics.duration if statistics else None,
            "window_seconds": statistics.seconds if statistics else None,
        },
    }


def relation_of(source: EntityRef, kind: str, target: EntityRef, properties: Mapping[str, Any]) -> Relation:
    """The reverse of relation_row."""
    statistics = None
    if properties.get("requests") is not None:
        statistics = RelationStatistics(properties["window_seconds"], properties["requests"], properties["errors"], properties["duration_seconds"])
    return Relation(
        RelationKey(source, kind, target),
        tuple(properties["sources"]),
        properties["confidence"],
        properties["first_seen"] * MILLISECOND,
        properties["last_seen"] * MILLISECOND,
        statistics,
    )


def change_of(at: int, event: str, entity: str, source: str | None, kind: str | None, target: str | None) -> StructureChange:
    """A change; `source`, `kind` and `target` are None where it is one of an entity."""
    relation = RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target)) if source and kind and target else None
    return StructureChange(at * MILLISECOND, StructureEvent(event), EntityRef.parse(entity), relation)


def incident_row(incident: Incident) -> Row:
    """The properties of its node."""
    return {
        "id": incident.id,
        "cause": str(incident.cause.entity),
        "defect": incident.cause.defect,
        "state": incident.state.value,
        "opened_at": milliseconds(incident.opened_at),
        "onset": None if incident.onset is None else milliseconds(incident.onset),
        "closed_at": None if incident.closed_at is None else milliseconds(incident.closed_at),
        "probability": incident.probability,
        "peak_probability": incident.peak_probability,
        "symptom_entities": [str(symptom.entity) for symptom in incident.symptoms],
        "symptom_conditions": [symptom.condition for symptom in incident.symptoms],
    }


def incident_of(properties: Mapping[str, Any]) -> Incident:
    """The reverse of incident_row."""
    onset, closed = properties.get("onset"), properties.get("closed_at")
    symptoms: Sequence[tuple[str, str]] = list(zip(properties["symptom_entities"], properties["symptom_conditions"], strict=True))
    return Incident(
        id=properties["id"],
        cause=DefectRef(EntityRef.parse(properties["cause"]), properties["defect"]),
        state=IncidentState(properties["state"]),
        opened_at=properties["opened_at"] * MILLISECOND,
        onset=None if onset is None else onset * MILLISECOND,
        closed_at=None if closed is None else closed * MILLISECOND,
        probability=properties["probability"],
        peak_probability=properties["peak_probability"],
        symptoms=tuple(ConditionRef(EntityRef.parse(entity), condition) for entity, condition in symptoms),
    )
