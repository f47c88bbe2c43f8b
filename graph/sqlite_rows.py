"""Rows of the embedded store to values and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson

from graph.topology import Entity, Relation, RelationKey, RelationStatistics, Snapshot
from graph.walks import instant_of
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, Incident, IncidentState


def entity_of(row: Any) -> Entity:
    """ref, attributes, sources, first_seen, last_seen."""
    return Entity(EntityRef.parse(row[0]), orjson.loads(row[1]), tuple(orjson.loads(row[2])), row[3], row[4])


def relation_of(row: Any, source: EntityRef, target: EntityRef) -> Relation:
    """source, kind, target, sources, confidence, statistics, first_seen, last_seen."""
    statistics = RelationStatistics(**orjson.loads(row[5])) if row[5] else None
    return Relation(RelationKey(source, row[1], target), tuple(orjson.loads(row[3])), row[4], row[6], row[7], statistics)


def snapshot_of_rows(entity_rows: Iterable[Any], relation_rows: Iterable[Any], at: int | None) -> Snapshot:
    """The estate at `at`, or at its latest sighting. Relations whose ends were not there then are left out."""
    entities = {row[0]: entity_of(row) for row in entity_rows}
    relations = [relation_of(row, entities[row[0]].ref, entities[row[2]].ref) for row in relation_rows if row[0] in entities and row[2] in entities]
    return Snapshot(instant_of(entities.values(), at), tuple(entities.values()), tuple(relations))


def key_columns(key: RelationKey) -> tuple[str, str, str]:
    """source, kind, target."""
    return str(key.source), key.kind, str(key.target)


def statistics_json(statistics: RelationStatistics | None) -> str | None:
    """None stays None."""
    return None if statistics is None else orjson.dumps(asdict(statistics)).decode()


def incident_json(incident: Incident) -> str:
    """The whole incident; references as texts."""
    return orjson.dumps(
        {
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
    ).decode()


def incident_of(text: Any) -> Incident:
    """The reverse of incident_json."""
    row = orjson.loads(text)
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
