"""Everything a store holds, as values: what an export writes, an import takes and a check reads. Times are epoch nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass

from graph.attributes import EntityAttributes, RelationDependencies
from graph.topology import Entity, Relation, StructureChange
from schema.verdicts import EntityChange, Incident


@dataclass(frozen=True, slots=True)
class EntityInterval:
    """An entity while its attributes stood: from `opened` until before `closed`. `told`: when they were last said to stand."""

    entity: Entity
    opened: int
    closed: int | None
    told: int


@dataclass(frozen=True, slots=True)
class RelationInterval:
    """A relation while it was there: from `opened` until before `closed`."""

    relation: Relation
    opened: int
    closed: int | None


@dataclass(frozen=True, slots=True)
class SavedState:
    """A named blob."""

    name: str
    content: bytes


Record = EntityInterval | RelationInterval | EntityAttributes | RelationDependencies | StructureChange | EntityChange | Incident | SavedState
