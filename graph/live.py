"""The live graph: the estate as telemetry last showed it, in memory, in event time. One owner: the process that applies deltas."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graph.topology import (
    Entity,
    EntityObservation,
    Relation,
    RelationKey,
    RelationObservation,
    RelationStatistics,
    Snapshot,
    StructureChange,
    StructureEvent,
    TopologyDelta,
)
from schema.identity import EntityRef

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class GraphLimits:
    """Bounds of the live graph. Times to live in nanoseconds of event time; statistics cover the last `statistics_windows` windows."""

    entities: int = 500_000
    relations: int = 2_000_000
    time_to_live: int = 3_600 * SECOND
    pod_time_to_live: int = 900 * SECOND
    statistics_windows: int = 12
    window: int = 5 * SECOND


@dataclass(slots=True)
class _EntityState:
    attributes: dict[str, str]
    sources: set[str]
    first_seen: int
    last_seen: int


@dataclass(slots=True)
class _RelationState:
    confidence: dict[str, float]
    first_seen: int
    last_seen: int
    traffic: deque[tuple[int, int, int, float]] = field(default_factory=deque)


class LiveGraph:
    """Entities and relations with provenance; `apply` is the one write door. Everything returned is in ascending order."""

    def __init__(self, *, limits: GraphLimits | None = None) -> None:
        self._limits = limits or GraphLimits()
        self._ids: dict[EntityRef, int] = {}
        self._refs: list[EntityRef] = []
        self._entities: dict[EntityRef, _EntityState] = {}
        self._relations: dict[RelationKey, _RelationState] = {}
        self._outgoing: dict[EntityRef, set[RelationKey]] = {}
        self._incoming: dict[EntityRef, set[RelationKey]] = {}
        self._dropped: Counter[str] = Counter()
        self.version = 0
        self.at = 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """Observations refused, by reason."""
        return dict(self._dropped)

    def intern(self, ref: EntityRef) -> int:
        """The dense integer of an entity, stable for the life of the process; -1 (counted) when the table is full."""
        known = self._ids.get(ref)
        if known is not None:
            return known
        if len(self._refs) >= 2 * self._limits.entities:
            self._dropped["identity_table_full"] += 1
            return -1
        self._ids[ref] = len(self._refs)
        self._refs.append(ref)
        return len(self._refs) - 1

    def find(self, ref: EntityRef) -> int | None:
        """The entity's integer if it was ever interned."""
        return self._ids.get(ref)

    def ref(self, entity: int) -> EntityRef:
        """The identity behind an integer."""
        return self._refs[entity]

    def apply(self, delta: TopologyDelta) -> tuple[StructureChange, ...]:
        """Merges observations; returns what changed structurally, in order. Deltas commute but for statistics' window order."""
        self.at = max(self.at, delta.at)
        changes: list[StructureChange] = []
        for entity in delta.entities:
            self._observe_entity(entity, changes)
        for relation in delta.relations:
            self._observe_relation(relation, changes)
        self.version += bool(changes)
        return tuple(changes)

    def expire(self, at: int) -> tuple[StructureChange, ...]:
        """Forgets what was not seen for its time to live."""
        changes: list[StructureChange] = []
        stale = [key for key, state in self._relations.items() if at - state.last_seen > self._time_to_live(key.source, key.target)]
        for key in sorted(stale):
            self._forget_relation(key, at, changes)
        for ref in sorted(ref for ref, state in self._entities.items() if at - state.last_seen > self._time_to_live(ref)):
            for key in sorted(self._outgoing.pop(ref, set()) | self._incoming.pop(ref, set())):
                self._forget_relation(key, at, changes)
            del self._entities[ref]
            changes.append(StructureChange(at, StructureEvent.ENTITY_EXPIRED, ref))
        self.version += bool(changes)
        return tuple(changes)

    def entity(self, ref: EntityRef) -> Entity | None:
        """The entity as last seen."""
        state = self._entities.get(ref)
        return None if state is None else _entity(ref, state)

    def entities(self) -> Sequence[Entity]:
        """All entities, in ascending identity."""
        return [_entity(ref, self._entities[ref]) for ref in sorted(self._entities)]

    def relations(self, *, source: EntityRef | None = None, target: EntityRef | None = None, kind: str | None = None) -> Sequence[Relation]:
        """Relations that match, in ascending key."""
        keys: Iterable[RelationKey] = self._relations
        if source is not None:
            keys = self._outgoing.get(source, set())
        elif target is not None:
            keys = self._incoming.get(target, set())
        chosen = (key for key in keys if (target is None or key.target == target) and (kind is None or key.kind == kind))
        return [self._relation(key) for key in sorted(chosen)]

    def neighbourhood(self, ref: EntityRef, depth: int) -> Snapshot:
        """Everything within `depth` relations of `ref`, in either direction, and the relations among it."""
        seen = {ref} if ref in self._entities else set()
        frontier = set(seen)
        for _ in range(depth):
            frontier = {end for at in frontier for key in self._touching(at) for end in (key.source, key.target)} - seen
            seen |= frontier
        keys = {key for ref_ in seen for key in self._outgoing.get(ref_, set()) if key.target in seen}
        return Snapshot(self.at, tuple(_entity(each, self._entities[each]) for each in sorted(seen)), tuple(self._relation(key) for key in sorted(keys)))

    def snapshot(self) -> Snapshot:
        """The whole estate."""
        return Snapshot(self.at, tuple(self.entities()), tuple(self.relations()))

    def restore(self, snapshot: Snapshot) -> None:
        """Takes over a stored estate at start."""
        self.at = max(self.at, snapshot.at)
        for entity in snapshot.entities:
            self.intern(entity.ref)
            self._entities[entity.ref] = _EntityState(dict(entity.attributes), set(entity.sources), entity.first_seen, entity.last_seen)
        for relation in snapshot.relations:
            state = _RelationState(dict.fromkeys(relation.sources, relation.confidence), relation.first_seen, relation.last_seen)
            self._link(relation.key, state)
        self.version += 1

    def service_of(self, ref: EntityRef) -> EntityRef | None:
        """The service an entity belongs to: endpoints and network paths to theirs, containers and pods to what runs on them."""
        if ref.kind == "service":
            return ref
        for kind in ("part_of", "leads_to"):
            for key in sorted(self._outgoing.get(ref, set())):
                if key.kind == kind and key.target != ref and key.target.kind in {"service", "pod"}:
                    return self.service_of(key.target)
        services = [key.source for key in self._incoming.get(ref, set()) if key.kind == "runs_on" and key.source.kind == "service"]
        return min(services) if services and ref.kind == "pod" else None

    def _observe_entity(self, seen: EntityObservation, changes: list[StructureChange]) -> None:
        state = self._entities.get(seen.ref)
        if state is None:
            if len(self._entities) >= self._limits.entities:
                self._dropped["entities_full"] += 1
                return
            self.intern(seen.ref)
            self._entities[seen.ref] = _EntityState(dict(seen.attributes), {seen.source}, seen.time, seen.time)
            changes.append(StructureChange(seen.time, StructureEvent.ENTITY_APPEARED, seen.ref))
            return
        if seen.time >= state.last_seen:
            moved = sorted((k, v) for k, v in seen.attributes.items() if state.attributes.get(k) != v)
            if moved:
                detail = ", ".join(f"{k}: {state.attributes.get(k, '')} -> {v}" for k, v in moved)
                state.attributes.update(moved)
                changes.append(StructureChange(seen.time, StructureEvent.ENTITY_CHANGED, seen.ref, detail=detail))
        state.sources.add(seen.source)
        state.first_seen, state.last_seen = min(state.first_seen, seen.time), max(state.last_seen, seen.time)

    def _observe_relation(self, seen: RelationObservation, changes: list[StructureChange]) -> None:
        for end in (seen.key.source, seen.key.target):
            self._observe_entity(EntityObservation(end, seen.source, seen.time, {}), changes)
            if end not in self._entities:
                return
        state = self._relations.get(seen.key)
        if state is None:
            if len(self._relations) >= self._limits.relations:
                self._dropped["relations_full"] += 1
                return
            state = _RelationState({}, seen.time, seen.time)
            self._link(seen.key, state)
            changes.append(StructureChange(seen.time, StructureEvent.RELATION_APPEARED, seen.key.source, seen.key))
        state.confidence[seen.source] = max(state.confidence.get(seen.source, 0.0), seen.confidence)
        state.first_seen, state.last_seen = min(state.first_seen, seen.time), max(state.last_seen, seen.time)
        if seen.requests:
            state.traffic.append((seen.time, seen.requests, seen.errors, seen.duration))
            while len(state.traffic) > self._limits.statistics_windows:
                state.traffic.popleft()

    def _link(self, key: RelationKey, state: _RelationState) -> None:
        self._relations[key] = state
        self._outgoing.setdefault(key.source, set()).add(key)
        self._incoming.setdefault(key.target, set()).add(key)

    def _forget_relation(self, key: RelationKey, at: int, changes: list[StructureChange]) -> None:
        if self._relations.pop(key, None) is None:
            return
        self._outgoing.get(key.source, set()).discard(key)
        self._incoming.get(key.target, set()).discard(key)
        changes.append(StructureChange(at, StructureEvent.RELATION_EXPIRED, key.source, key))

    def _touching(self, ref: EntityRef) -> set[RelationKey]:
        return self._outgoing.get(ref, set()) | self._incoming.get(ref, set())

    def _time_to_live(self, *refs: EntityRef) -> int:
        short = any(ref.kind in {"pod", "container"} for ref in refs)
        return self._limits.pod_time_to_live if short else self._limits.time_to_live

    def _relation(self, key: RelationKey) -> Relation:
        state = self._relations[key]
        doubt = 1.0
        for source in sorted(state.confidence):
            doubt *= 1.0 - state.confidence[source]
        return Relation(key, tuple(sorted(state.confidence)), 1.0 - doubt, state.first_seen, state.last_seen, self._statistics(state))

    def _statistics(self, state: _RelationState) -> RelationStatistics | None:
        if not state.traffic:
            return None
        seconds = (state.traffic[-1][0] - state.traffic[0][0] + self._limits.window) / SECOND
        requests, errors = sum(row[1] for row in state.traffic), sum(row[2] for row in state.traffic)
        return RelationStatistics(seconds, requests, errors, sum(row[3] for row in state.traffic))


def _entity(ref: EntityRef, state: _EntityState) -> Entity:
    return Entity(ref, dict(sorted(state.attributes.items())), tuple(sorted(state.sources)), state.first_seen, state.last_seen)
