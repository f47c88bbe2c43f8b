"""Writes as values: kept until a store takes them, in the order they were made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from graph.record_json import (
    entity_change_from,
    entity_change_value,
    entity_from,
    entity_value,
    incident_from,
    incident_value,
    key_from,
    key_value,
    relation_from,
    relation_value,
)
from graph.store import GraphStore
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident


@dataclass(frozen=True, slots=True)
class Write:
    """What one window changes: upserts, then what expires at `at`, then changes to entities and incidents. `through`: its end, in event time."""

    through: int
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    gone: tuple[EntityRef | RelationKey, ...] = ()
    at: int = 0
    incidents: tuple[Incident, ...] = ()
    changes: tuple[EntityChange, ...] = ()

    @property
    def size(self) -> int:
        """How many things it tells of; 0 where it changes nothing."""
        return len(self.entities) + len(self.relations) + len(self.gone) + len(self.incidents) + len(self.changes)


async def apply(store: GraphStore, write: Write) -> None:
    """Writes it. It may be repeated whole, as long as nothing later was written. Raises StoreError."""
    if write.entities:
        await store.upsert_entities(write.entities)
    if write.relations:
        await store.upsert_relations(write.relations)
    if write.gone:
        entities = [what for what in write.gone if isinstance(what, EntityRef)]
        await store.expire(entities, [what for what in write.gone if isinstance(what, RelationKey)], write.at)
    if write.changes:
        await store.save_entity_changes(write.changes)
    if write.incidents:
        await store.save_incidents(write.incidents)


def write_json(write: Write) -> bytes:
    """For the journal."""
    return orjson.dumps(
        {
            "through": write.through,
            "entities": [entity_value(entity) for entity in write.entities],
            "relations": [relation_value(relation) for relation in write.relations],
            "gone": [str(what) if isinstance(what, EntityRef) else key_value(what) for what in write.gone],
            "at": write.at,
            "changes": [entity_change_value(change) for change in write.changes],
            "incidents": [incident_value(incident) for incident in write.incidents],
        }
    )


def write_of(content: bytes) -> Write:
    """The reverse of write_json."""
    row: dict[str, Any] = orjson.loads(content)
    return Write(
        row["through"],
        tuple(map(entity_from, row["entities"])),
        tuple(map(relation_from, row["relations"])),
        tuple(EntityRef.parse(what) if isinstance(what, str) else key_from(what) for what in row["gone"]),
        row["at"],
        tuple(map(incident_from, row["incidents"])),
        tuple(map(entity_change_from, row.get("changes", ()))),  # none in a journal of an older Whence
    )
