"""Incidents and changes to entities in Neo4j, linked to the entities they are about; each verb within the transaction of its caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import orjson

from graph.neo4j_rows import MILLISECOND, Row, instant_of, milliseconds
from graph.neo4j_writes import Transaction, batches, rows_of, run
from graph.record_json import effect_from, effect_value, entity_change_from, entity_change_value, evidence_from, evidence_value
from graph.records import Record
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef, EntityChange, Incident, IncidentState
from schema.windows import ChangeKind

FOREVER = 2**62

SAVE_CHANGES = """
UNWIND $rows AS row
MERGE (c:Change {id: row.id})
SET c = row
WITH c
CALL (c) {
  MATCH (e:Entity|Gone {id: c.entity}) MERGE (e)-[:CHANGED_BY]->(c)
}
"""
CHANGES = """
MATCH (c:Change) WHERE c.at > $since AND c.at <= $until
RETURN properties(c) AS properties ORDER BY c.at, c.entity, c.kind, c.detail LIMIT $limit
"""
COMPACT = """
MATCH (c:Change) WHERE c.at < $before AND NOT (c)-[:PRECEDES]->()
WITH c ORDER BY c.at, c.entity, c.kind, c.detail LIMIT $most
DETACH DELETE c
"""
SAVE_INCIDENTS = """
UNWIND $rows AS row
MERGE (i:Incident {id: row.properties.id})
SET i = row.properties
WITH i, row
OPTIONAL MATCH (i)-[old:CAUSED_BY|SHOWS|EVIDENCED_BY|IMPACTS|PRECEDES]-()
DELETE old
WITH DISTINCT i, row
CALL (i, row) {
  MATCH (e:Entity|Gone {id: row.properties.cause})
  CREATE (i)-[:CAUSED_BY {defect: row.properties.defect, probability: row.properties.probability}]->(e)
}
CALL (i, row) {
  UNWIND row.symptoms AS each
  MATCH (e:Entity|Gone {id: each.entity}) CREATE (i)-[:SHOWS {condition: each.condition}]->(e)
}
CALL (i, row) {
  UNWIND row.evidence AS each
  MATCH (e:Entity|Gone {id: each.entity}) CREATE (i)-[r:EVIDENCED_BY]->(e) SET r = each.properties
}
CALL (i, row) {
  UNWIND row.impacts AS each
  MATCH (e:Entity|Gone {id: each.entity}) CREATE (i)-[r:IMPACTS]->(e) SET r = each.properties
}
CALL (i, row) {
  UNWIND row.changes AS each
  MATCH (c:Change {id: each.id}) CREATE (c)-[:PRECEDES {seconds: each.seconds}]->(i)
}
"""
INCIDENTS = """
MATCH (i:Incident) WHERE $state IS NULL OR i.state = $state
RETURN properties(i) AS properties ORDER BY i.opened_at DESC, i.id LIMIT $limit
"""
INCIDENTS_AFTER = "MATCH (i:Incident) WHERE i.id > $after RETURN properties(i) AS properties ORDER BY i.id LIMIT $limit"


async def save_incidents(transaction: Transaction, incidents: Sequence[Incident]) -> None:
    """GraphStore.save_incidents."""
    await save_changes(transaction, [change for incident in incidents for change in incident.changes])
    for batch in batches([_incident_row(incident) for incident in incidents]):
        await run(transaction, SAVE_INCIDENTS, rows=batch)


async def incidents(transaction: Transaction, state: IncidentState | None, limit: int) -> Sequence[Incident]:
    """GraphStore.incidents."""
    rows = await rows_of(transaction, INCIDENTS, state=state.value if state else None, limit=limit)
    return [_incident_of(row["properties"]) for row in rows]


async def incidents_after(transaction: Transaction, after: str, limit: int) -> Sequence[Incident]:
    """The next ones by id."""
    return [_incident_of(row["properties"]) for row in await rows_of(transaction, INCIDENTS_AFTER, after=after, limit=limit)]


async def save_changes(transaction: Transaction, changes: Sequence[EntityChange]) -> None:
    """GraphStore.save_entity_changes."""
    rows = {row["id"]: row for row in map(_change_row, changes)}
    for batch in batches([rows[id_] for id_ in sorted(rows)]):
        await run(transaction, SAVE_CHANGES, rows=batch)


async def changes(transaction: Transaction, since: int, until: int | None, limit: int | None) -> Sequence[EntityChange]:
    """GraphStore.entity_changes."""
    last = FOREVER if until is None else milliseconds(until)
    rows = await rows_of(transaction, CHANGES, since=milliseconds(since), until=last, limit=FOREVER if limit is None else limit)
    return [_change_of(row["properties"]) for row in rows]


async def compact(transaction: Transaction, before: int, most: int) -> None:
    """The part of GraphStore.compact that is about changes to entities."""
    await run(transaction, COMPACT, before=-(-before // MILLISECOND), most=most)


async def load(transaction: Transaction, records: Sequence[Record]) -> None:
    """GraphStore.load, of incidents and of changes to entities."""
    await save_changes(transaction, [record for record in records if isinstance(record, EntityChange)])
    await save_incidents(transaction, [record for record in records if isinstance(record, Incident)])


def _change_row(change: EntityChange) -> Row:
    at, entity, kind = milliseconds(change.at), str(change.entity), change.kind.value
    return {"id": f"{at}-{entity}-{kind}-{crc32(change.detail.encode()):08x}", "at": at, "entity": entity, "kind": kind, "detail": change.detail}


def _change_of(properties: Mapping[str, Any]) -> EntityChange:
    return EntityChange(properties["at"] * MILLISECOND, EntityRef.parse(properties["entity"]), ChangeKind(properties["kind"]), properties["detail"])


def _incident_row(incident: Incident) -> Row:
    """The properties of its node, of which lists of things are texts to read back, and what its relationships carry."""
    changes = [{**entity_change_value(each), "at": milliseconds(each.at) * MILLISECOND} for each in incident.changes]
    evidence, impacts = [evidence_value(each) for each in incident.evidence], [effect_value(each) for each in incident.impacts]
    return {
        "properties": {
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
            "evidence": orjson.dumps(evidence).decode(),
            "impacts": orjson.dumps(impacts).decode(),
            "changes": orjson.dumps(changes).decode(),
        },
        "symptoms": [{"entity": str(symptom.entity), "condition": symptom.condition} for symptom in incident.symptoms],
        "evidence": [_linked({**each, "onset": None if each["onset"] is None else milliseconds(each["onset"])}) for each in evidence],
        "impacts": [_linked(each) for each in impacts],
        "changes": [{"id": _change_row(each)["id"], "seconds": (incident.opened_at - each.at) / 1e9} for each in incident.changes],
    }


def _linked(value: Row) -> Row:
    return {"entity": value["entity"], "properties": {name: each for name, each in value.items() if name != "entity"}}


def _incident_of(properties: Mapping[str, Any]) -> Incident:
    symptoms: Sequence[tuple[str, str]] = list(zip(properties["symptom_entities"], properties["symptom_conditions"], strict=True))
    return Incident(
        id=properties["id"],
        cause=DefectRef(EntityRef.parse(properties["cause"]), properties["defect"]),
        state=IncidentState(properties["state"]),
        opened_at=properties["opened_at"] * MILLISECOND,
        onset=instant_of(properties.get("onset")),
        closed_at=instant_of(properties.get("closed_at")),
        probability=properties["probability"],
        peak_probability=properties["peak_probability"],
        symptoms=tuple(ConditionRef(EntityRef.parse(entity), condition) for entity, condition in symptoms),
        evidence=tuple(map(evidence_from, orjson.loads(properties["evidence"]))),
        impacts=tuple(map(effect_from, orjson.loads(properties["impacts"]))),
        changes=tuple(map(entity_change_from, orjson.loads(properties["changes"]))),
    )
