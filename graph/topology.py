"""The values of the estate's model: entities, relations, and the deltas that change it. Times are epoch nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schema.identity import EntityRef


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that can fail. `attributes`: descriptive labels (version, criticality, owner), canonical names."""

    ref: EntityRef
    attributes: Mapping[str, str]
    sources: tuple[str, ...]
    first_seen: int
    last_seen: int


@dataclass(frozen=True, slots=True, order=True)
class RelationKey:
    """A typed, directed edge."""

    source: EntityRef
    kind: str
    target: EntityRef


@dataclass(frozen=True, slots=True)
class RelationStatistics:
    """Traffic along a relation over the last `seconds` of event time. Durations in seconds, summed over the calls."""

    seconds: float
    requests: int
    errors: int
    duration: float

    @property
    def request_rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def error_ratio(self) -> float:
        """Failed share of the requests."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def mean_duration(self) -> float:
        """Seconds a request."""
        return self.duration / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Relation:
    """An edge with its provenance. `confidence`: how sure its best source is that it exists, 0..1."""

    key: RelationKey
    sources: tuple[str, ...]
    confidence: float
    first_seen: int
    last_seen: int
    statistics: RelationStatistics | None


@dataclass(frozen=True, slots=True)
class EntityObservation:
    """An entity was seen at `time` by `source` (e.g. "otlp.traces")."""

    ref: EntityRef
    source: str
    time: int
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RelationObservation:
    """A relation was seen at `time` by `source`, with what travelled along it in the observed window."""

    key: RelationKey
    source: str
    time: int
    confidence: float
    requests: int = 0
    errors: int = 0
    duration: float = 0.0


@dataclass(frozen=True, slots=True)
class TopologyDelta:
    """Observations up to `at`, the only way into the graph. Applying it twice changes nothing more but statistics."""

    at: int
    entities: tuple[EntityObservation, ...]
    relations: tuple[RelationObservation, ...]


class Direction(StrEnum):
    """Which relations a walk takes. The source of a relation depends on its target."""

    EITHER = "either"
    DEPENDENCIES = "dependencies"
    DEPENDENTS = "dependents"


class StructureEvent(StrEnum):
    """What happened to the structure."""

    ENTITY_APPEARED = "entity_appeared"
    ENTITY_CHANGED = "entity_changed"
    ENTITY_EXPIRED = "entity_expired"
    RELATION_APPEARED = "relation_appeared"
    RELATION_EXPIRED = "relation_expired"


@dataclass(frozen=True, slots=True)
class StructureChange:
    """One structural change, as time travel reports it. `relation` is set for relation events."""

    at: int
    event: StructureEvent
    entity: EntityRef
    relation: RelationKey | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The estate at an instant."""

    at: int
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What lies between two instants, in ascending identity. `changed`: entities whose attributes differ, as (before, after)."""

    appeared: tuple[Entity, ...]
    expired: tuple[Entity, ...]
    changed: tuple[tuple[Entity, Entity], ...]
    relations_appeared: tuple[Relation, ...]
    relations_expired: tuple[Relation, ...]
