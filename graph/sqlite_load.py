"""Records of an export into the embedded store, as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from graph.attributes import EntityAttributes, RelationDependencies
from graph.merging import attributes_json
from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.sqlite_attributes import save_attributes
from graph.sqlite_incidents import save_changes, save_incidents
from graph.sqlite_rows import sources_json, statistics_json
from graph.sqlite_writes import Names
from graph.topology import StructureChange
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident

ENTITY = """insert into entity_interval select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
            where not exists (select 1 from entity_interval where id = ?1 and opened = ?7 and closed is ?8 and told = ?6)"""
RELATION = """insert into relation_interval select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
              where not exists (select 1 from relation_interval where source = ?1 and target = ?3 and kind = ?2 and opened = ?9 and closed is ?10)"""
CHANGE = """insert into structure_change select ?1, ?2, ?3, ?4, ?5, ?6, ?7 where not exists (
            select 1 from structure_change where at = ?1 and entity = ?3 and event = ?2 and source is ?4 and kind is ?5 and target is ?6 and detail = ?7)"""


def load(database: sqlite3.Connection, names: Names, records: Sequence[Record]) -> None:
    """GraphStore.load."""
    entities = [record for record in records if isinstance(record, EntityInterval)]
    relations = [record for record in records if isinstance(record, RelationInterval)]
    changes = [record for record in records if isinstance(record, StructureChange)]
    number = names.numbered(database, [*(each.entity.ref for each in entities), *_of_relations(relations), *_of_changes(changes)])
    for each in entities:
        entity = each.entity
        columns = (attributes_json(entity.attributes), sources_json(entity.sources), entity.first_seen, entity.last_seen, each.told, each.opened, each.closed)
        database.execute(ENTITY, (number[entity.ref], *columns))
    for interval in relations:
        relation, key = interval.relation, interval.relation.key
        told = (sources_json(relation.sources), relation.confidence, statistics_json(relation.statistics), relation.first_seen, relation.last_seen)
        database.execute(RELATION, (number[key.source], key.kind, number[key.target], *told, interval.opened, interval.closed))
    attributes = [record for record in records if isinstance(record, EntityAttributes)]
    save_attributes(database, names, attributes, [record for record in records if isinstance(record, RelationDependencies)])
    for change in changes:
        ends = (None, None, None) if change.relation is None else (number[change.relation.source], change.relation.kind, number[change.relation.target])
        database.execute(CHANGE, (change.at, change.event.value, number[change.entity], *ends, change.detail))
    save_changes(database, [record for record in records if isinstance(record, EntityChange)])
    save_incidents(database, [record for record in records if isinstance(record, Incident)])
    states = [(record.name, record.content) for record in records if isinstance(record, SavedState)]
    database.executemany("insert or replace into state values(?, ?)", states)


def _of_relations(relations: Sequence[RelationInterval]) -> list[EntityRef]:
    return [end for each in relations for end in (each.relation.key.source, each.relation.key.target)]


def _of_changes(changes: Sequence[StructureChange]) -> list[EntityRef]:
    ends = [end for change in changes if change.relation is not None for end in (change.relation.source, change.relation.target)]
    return [*(change.entity for change in changes), *ends]
