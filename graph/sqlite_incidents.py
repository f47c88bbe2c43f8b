"""Incidents and changes to entities in the embedded store, within the transaction of the caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from graph.merging import entity_change_order
from graph.record_json import entity_change_from
from graph.sqlite_rows import incident_json, incident_of
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident, IncidentState
from schema.windows import ChangeKind

SAVE_INCIDENT = (
    "insert into incident values(?, ?, ?, ?) on conflict(id) do update set state = excluded.state, opened_at = excluded.opened_at, content = excluded.content"
)
CHANGES = "select at, entity, kind, detail from entity_change"
BATCH = 2_000


def save_incidents(database: sqlite3.Connection, incidents: Sequence[Incident]) -> None:
    """GraphStore.save_incidents."""
    save_changes(database, [change for incident in incidents for change in incident.changes])
    database.executemany(SAVE_INCIDENT, [(each.id, each.state.value, each.opened_at, incident_json(each)) for each in incidents])


def incidents(database: sqlite3.Connection, state: IncidentState | None, limit: int) -> Sequence[Incident]:
    """GraphStore.incidents."""
    asked = {"state": state.value if state else None, "limit": limit}
    statement = "select content from incident where :state is null or state = :state order by opened_at desc, id limit :limit"
    return [incident_of(row[0]) for row in database.execute(statement, asked)]


def save_changes(database: sqlite3.Connection, changes: Sequence[EntityChange]) -> None:
    """GraphStore.save_entity_changes."""
    database.executemany("insert or ignore into entity_change values(?, ?, ?, ?)", map(entity_change_order, changes))


def changes(database: sqlite3.Connection, since: int, until: int | None, limit: int | None) -> Sequence[EntityChange]:
    """GraphStore.entity_changes."""
    asked = {"since": since, "until": until, "limit": -1 if limit is None else limit}
    statement = f"{CHANGES} where at > :since and (:until is null or at <= :until) order by at, entity, kind, detail limit :limit"
    return [_change_of(row) for row in database.execute(statement, asked)]


def compact(database: sqlite3.Connection, before: int, most: int) -> None:
    """The part of GraphStore.compact that is about changes to entities."""
    over = [_change_of(row) for row in database.execute(f"{CHANGES} where at < ? order by at, entity, kind, detail", (before,))]
    if over:
        rows = database.execute("select distinct value from incident, json_each(incident.content, '$.changes')")
        kept = {entity_change_from(orjson.loads(row[0])) for row in rows}
        gone = [entity_change_order(change) for change in over if change not in kept][:most]
        database.executemany("delete from entity_change where at = ? and entity = ? and kind = ? and detail = ?", gone)


def records(database: sqlite3.Connection) -> Iterator[Sequence[EntityChange | Incident]]:
    """All changes to entities, then all incidents by id, in batches of one kind."""
    told = database.execute(f"{CHANGES} order by at, entity, kind, detail")
    while rows := told.fetchmany(BATCH):
        yield [_change_of(row) for row in rows]
    told = database.execute("select content from incident order by id")
    while rows := told.fetchmany(BATCH):
        yield [incident_of(row[0]) for row in rows]


def _change_of(row: Any) -> EntityChange:
    at, entity, kind, detail = row
    return EntityChange(at, EntityRef.parse(entity), ChangeKind(kind), detail)
