"""Rows of the embedded store to values and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson

from graph.record_json import incident_from, incident_value
from graph.topology import Entity, Relation, RelationKey, RelationStatistics, Snapshot, StructureChange, StructureEvent
from graph.walks import instant_of
from schema.identity import EntityRef
from schema.verdicts import Incident

Sources = dict[str, tuple[str, ...]]


def entity_of(row: Any, sources: Sources | None = None) -> Entity:
    """ref, attributes, sources, first_seen, last_seen. `sources`: those read before, by their text."""
    return Entity(EntityRef.parse(row[0]), orjson.loads(row[1]), _sources_of(row[2], {} if sources is None else sources), row[3], row[4])


def relation_of(row: Any, source: EntityRef, target: EntityRef, sources: Sources) -> Relation:
    """kind, sources, confidence, statistics, first_seen, last_seen. `sources`: those read before, by their text."""
    statistics = RelationStatistics(**orjson.loads(row[3])) if row[3] else None
    return Relation(RelationKey(source, row[0], target), _sources_of(row[1], sources), row[2], row[4], row[5], statistics)


def _sources_of(text: str, known: Sources) -> tuple[str, ...]:
    found = known.get(text)
    if found is None:
        found = known[text] = tuple(orjson.loads(text))
    return found


def snapshot_of_rows(entity_rows: Iterable[Any], relation_rows: Iterable[Any], at: int | None) -> Snapshot:
    """The estate at `at`, or at its latest sighting. Relations whose ends were not there then are left out.

    entity_rows: number, then as `entity_of`, in ascending identity; relation_rows: numbers of source and target, then as `relation_of`, in any order.
    """
    sources: Sources = {}
    entities = {row[0]: entity_of(row[1:], sources) for row in entity_rows}
    rank = {number: place for place, number in enumerate(entities)}
    held = sorted((rank[row[0]], row[2], rank[row[1]], row) for row in relation_rows if row[0] in entities and row[1] in entities)
    relations = [relation_of(row[2:], entities[row[0]].ref, entities[row[1]].ref, sources) for *_, row in held]
    return Snapshot(instant_of(entities.values(), at), tuple(entities.values()), tuple(relations))


def change_of(row: Any) -> StructureChange:
    """at, event, entity, source, kind, target, detail; identities as texts."""
    at, event, entity, source, kind, target, detail = row
    key = RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target)) if source else None
    return StructureChange(at, StructureEvent(event), EntityRef.parse(entity), key, detail)


def sources_json(sources: Iterable[str]) -> str:
    """In the order given."""
    return orjson.dumps(list(sources)).decode()


def texts_json(texts: Iterable[str]) -> str:
    """A list for json_each."""
    return orjson.dumps(list(texts)).decode()


def numbers_json(numbers: Iterable[int]) -> str:
    """A list for json_each."""
    return orjson.dumps(list(numbers)).decode()


def statistics_json(statistics: RelationStatistics | None) -> str | None:
    """None stays None."""
    return None if statistics is None else orjson.dumps(asdict(statistics)).decode()


def incident_json(incident: Incident) -> str:
    """The whole incident; references as texts."""
    return orjson.dumps(incident_value(incident)).decode()


def incident_of(text: Any) -> Incident:
    """The reverse of incident_json."""
    return incident_from(orjson.loads(text))
