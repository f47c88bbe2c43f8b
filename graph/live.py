"""The live graph: the estate as telemetry last showed it, in memory, in event time. One owner: the process that applies deltas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from graph.change_log import ChangeLog, Touched
from graph.observed import SECOND, EntityState, Label, RelationState, Traffic
from graph.sightings import EntitySightings, RelationSightings, Sightings
from graph.topology import (
    Entity,
    EntityObservation,
    Relation,
    RelationKey,
    RelationObservation,
    Snapshot,
    StructureChange,
    StructureEvent,
    TopologyDelta,
)
from schema.identity import EntityRef

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
ONWARD = {"endpoint": "part_of", "network_path": "leads_to", "container": "part_of"}
NEVER = 1 << 62
# The order of dataclasses, compared as plain tuples: five times faster than their own comparison.
ENTITY_ORDER = attrgetter("kind", "cluster", "namespace", "name")
RELATION_ORDER = attrgetter(
    *(f"source.{part}" for part in ("kind", "cluster", "namespace", "name")), "kind", *(f"target.{part}" for part in ("kind", "cluster", "namespace", "name"))
)


def _entity_times_to_live() -> dict[str, int]:
    return {"pod": 15 * MINUTE, "container": 15 * MINUTE, "network_path": 6 * HOUR, "endpoint": 6 * HOUR}


def _relation_times_to_live() -> dict[str, int]:
    return {"runs_on": 15 * MINUTE, "selects": 15 * MINUTE}


@dataclass(frozen=True, slots=True)
class GraphLimits:
    """Bounds of the live graph; times in nanoseconds of event time. A kind that is not listed lives for the default.

    `window`: the length of a statistics window; statistics cover the last `statistics_windows` of them.
    `label_hold`: how long an attribute's newest value must go unseen before an older one that still is seen stands again.
    """

    entities: int = 500_000
    relations: int = 2_000_000
    time_to_live: int = 24 * HOUR
    entity_time_to_live: Mapping[str, int] = field(default_factory=_entity_times_to_live)
    relation_time_to_live: Mapping[str, int] = field(default_factory=_relation_times_to_live)
    statistics_windows: int = 12
    window: int = 5 * SECOND
    label_hold: int = MINUTE


class LiveGraph:
    """Entities and relations with provenance; `apply` is the one write door. Everything returned is in ascending order.

    `version` moves with the structure, with how sure it is of a relation, and where something proves older than it was known to be.
    """

    def __init__(self, *, limits: GraphLimits | None = None) -> None:
        self._limits = limits or GraphLimits()
        self._ids: dict[EntityRef, int] = {}
        self._refs: list[EntityRef] = []
        self._entities: dict[EntityRef, EntityState] = {}
        self._relations: dict[RelationKey, RelationState] = {}
        self._outgoing: dict[EntityRef, set[RelationKey]] = {}
        self._incoming: dict[EntityRef, set[RelationKey]] = {}
        self._in_order: tuple[list[EntityRef], list[RelationKey]] | None = None
        self._dropped: Counter[str] = Counter()
        self._log = ChangeLog()
        self._nothing_expires_before = NEVER
        self.version = 0
        self.at = 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was refused, by reason."""
        return dict(sorted(self._dropped.items()))

    @property
    def entity_count(self) -> int:
        """How many entities there are."""
        return len(self._entities)

    @property
    def relation_count(self) -> int:
        """How many relations there are."""
        return len(self._relations)

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

    def identities(self) -> tuple[EntityRef | None, ...]:
        """Every identity at the place of its integer; None where the entity is gone."""
        return tuple(ref if ref in self._entities else None for ref in self._refs)

    def apply(self, delta: TopologyDelta) -> tuple[StructureChange, ...]:
        """Merges observations; returns what changed structurally, in the order observed.

        The state after a set of deltas does not depend on their order, as long as no bound is met and nothing expires in between.
        """
        self.at = max(self.at, delta.at)
        changes: list[StructureChange] = []
        for entity in delta.entities:
            self._observe_entity(entity, changes)
        for relation in delta.relations:
            self._observe_relation(relation, changes)
        self.version += bool(changes) or self._log.newest > self.version
        return tuple(changes)

    def changes_since(self, version: int) -> Touched | None:
        """What to read again to follow the structure from an earlier version; None: all of it."""
        return self._log.since(version)

    def expire(self, at: int) -> tuple[StructureChange, ...]:
        """Forgets what was not seen for its time to live; an entity takes its relations along."""
        if at <= self._nothing_expires_before:
            return ()
        changes: list[StructureChange] = []
        for key in sorted(key for key, state in self._relations.items() if at > self._relation_expiry(key, state)):
            self._forget_relation(key, at, changes)
        for ref in sorted(ref for ref, state in self._entities.items() if at > self._entity_expiry(ref, state)):
            for key in sorted(self._touching(ref)):
                self._forget_relation(key, at, changes)
            del self._entities[ref]
            self._note(ref)
            self._in_order = None
            changes.append(StructureChange(at, StructureEvent.ENTITY_EXPIRED, ref))
        ends = [self._entity_expiry(ref, state) for ref, state in self._entities.items()]
        ends.extend(self._relation_expiry(key, state) for key, state in self._relations.items())
        self._nothing_expires_before = min(ends, default=NEVER)
        self.version += bool(changes)
        return tuple(changes)

    def entity(self, ref: EntityRef) -> Entity | None:
        """The entity as last seen."""
        state = self._entities.get(ref)
        return None if state is None else self._entity(ref, state)

    def relation(self, key: RelationKey) -> Relation | None:
        """The relation as last seen."""
        state = self._relations.get(key)
        return None if state is None else self._relation(key, state)

    def entities(self) -> Sequence[Entity]:
        """All entities, in ascending identity."""
        return [self._entity(ref, self._entities[ref]) for ref in self._order()[0]]

    def relations(self, *, source: EntityRef | None = None, target: EntityRef | None = None, kind: str | None = None) -> Sequence[Relation]:
        """Relations that match, in ascending key."""
        if source is None and target is None:
            keys: Iterable[RelationKey] = self._order()[1]
        elif source is not None:
            keys = sorted(self._outgoing.get(source, ()))
        else:
            assert target is not None
            keys = sorted(self._incoming.get(target, ()))
        return [self._relation(key, self._relations[key]) for key in keys if (target is None or key.target == target) and (kind is None or key.kind == kind)]

    def neighbourhood(self, ref: EntityRef, depth: int) -> Snapshot:
        """Everything within `depth` relations of `ref`, in either direction, and the relations among it."""
        seen = {ref} if ref in self._entities else set()
        frontier = set(seen)
        for _ in range(depth):
            frontier = {end for place in frontier for key in self._touching(place) for end in (key.source, key.target)} - seen
            seen |= frontier
        keys = [key for place in seen for key in self._outgoing.get(place, ()) if key.target in seen]
        entities = tuple(self._entity(each, self._entities[each]) for each in sorted(seen, key=ENTITY_ORDER))
        return Snapshot(self.at, entities, tuple(self._relation(key, self._relations[key]) for key in sorted(keys, key=RELATION_ORDER)))

    def snapshot(self) -> Snapshot:
        """The whole estate."""
        return Snapshot(self.at, tuple(self.entities()), tuple(self.relations()))

    def restore(self, snapshot: Snapshot) -> None:
        """Takes over a stored estate at start. Statistics are not taken over: they are of a time that is past."""
        self.at = max(self.at, snapshot.at)
        for entity in snapshot.entities:
            self.intern(entity.ref)
            labels = {name: Label({value: (entity.first_seen, entity.last_seen)}) for name, value in entity.attributes.items()}
            self._entities[entity.ref] = EntityState(entity.first_seen, entity.last_seen, tuple(sorted(entity.sources)), labels)
        for relation in snapshot.relations:
            state = RelationState(relation.first_seen, relation.last_seen, dict.fromkeys(relation.sources, 0.0), relation.confidence)
            self._link(relation.key, state)
        self._in_order = None
        self._nothing_expires_before = 0
        self._all_changed()

    def sightings(self) -> Sightings:
        """What a snapshot leaves out, for `recall`."""
        return Sightings(
            self.at,
            {
                ref: EntitySightings(state.first_seen, state.last_seen, state.sources, {name: dict(label.spans) for name, label in state.labels.items()})
                for ref, state in self._entities.items()
            },
            {key: RelationSightings(state.last_seen, state.floor, dict(state.by_source)) for key, state in self._relations.items()},
        )

    def recall(self, seen: Sightings) -> None:
        """Takes up what a snapshot left out, after `restore`. What the snapshot does not hold is gone, and stays so."""
        self.at = max(self.at, seen.at)
        for ref, entity in seen.entities.items():
            if (known := self._entities.get(ref)) is not None:
                labels = {name: Label(dict(spans)) for name, spans in entity.labels.items()}
                self._entities[ref] = EntityState(entity.first_seen, max(known.last_seen, entity.last_seen), entity.sources, labels)
        for key, relation in seen.relations.items():
            if (state := self._relations.get(key)) is not None:
                last = max(state.last_seen, relation.last_seen)
                self._relations[key] = RelationState(state.first_seen, last, dict(relation.by_source), relation.floor)
        self._all_changed()

    def service_of(self, ref: EntityRef) -> EntityRef | None:
        """The service an entity belongs to: endpoints, network paths, containers, pods and workloads; None for what is shared."""
        if ref.kind == "service":
            return ref
        for key in sorted(key for key in self._outgoing.get(ref, ()) if key.kind == ONWARD.get(ref.kind)):
            if key.target.kind == "service":
                return key.target
            if key.target.kind == "pod":
                return self._service_on(key.target)
        if ref.kind == "workload":
            services = [self._service_on(key.source) for key in self._incoming.get(ref, ()) if key.kind == "part_of"]
            return min((service for service in services if service is not None), default=None)
        return self._service_on(ref) if ref.kind in {"pod", "container"} else None

    def _service_on(self, ref: EntityRef) -> EntityRef | None:
        return min((key.source for key in self._incoming.get(ref, ()) if key.kind == "runs_on" and key.source.kind == "service"), default=None)

    def _order(self) -> tuple[list[EntityRef], list[RelationKey]]:
        """All identities in ascending order, kept until one comes or goes: sorting costs more than all the rest of a reading."""
        if self._in_order is None:
            self._in_order = sorted(self._entities, key=ENTITY_ORDER), sorted(self._relations, key=RELATION_ORDER)
        return self._in_order

    def _observe_entity(self, seen: EntityObservation, changes: list[StructureChange]) -> None:
        known = seen.ref in self._entities
        state = self._see(seen.ref, seen.source, seen.time, changes)
        if state is None:
            return
        moved = []
        for name in sorted(seen.attributes):
            label = state.labels.setdefault(name, Label())
            before = label.standing(self._limits.label_hold)
            if label.observe(seen.attributes[name], seen.time):
                self._dropped["label_values_full"] += 1
            after = label.standing(self._limits.label_hold)
            if after != before:
                moved.append((name, before, after))
        if moved and known:
            changes.append(StructureChange(seen.time, StructureEvent.ENTITY_CHANGED, seen.ref, detail=describe_change(moved)))

    def _observe_relation(self, seen: RelationObservation, changes: list[StructureChange]) -> None:
        ends = [self._see(end, seen.source, seen.time, changes) for end in (seen.key.source, seen.key.target)]
        state = self._relations.get(seen.key)
        if state is None:
            if None in ends or len(self._relations) >= self._limits.relations:
                self._dropped["relations_full"] += 1
                return
            state = RelationState(seen.time, seen.time)
            self._link(seen.key, state)
            self._nothing_expires_before = min(self._nothing_expires_before, self._relation_expiry(seen.key, state))
            changes.append(StructureChange(seen.time, StructureEvent.RELATION_APPEARED, seen.key.source, seen.key))
        before = state.combined, state.first_seen
        state.see(seen.source, seen.time, seen.confidence)
        if (state.combined, state.first_seen) != before:
            self._note(seen.key)
        if seen.requests:
            state.traffic = state.traffic or Traffic()
            sums = (seen.requests, seen.errors, round(seen.duration * SECOND))
            state.traffic.add(seen.time // self._limits.window, seen.source, sums, self._limits.statistics_windows)

    def _see(self, ref: EntityRef, source: str, time: int, changes: list[StructureChange]) -> EntityState | None:
        state = self._entities.get(ref)
        if state is None:
            if len(self._entities) >= self._limits.entities:
                self._dropped["entities_full"] += 1
                return None
            if self.intern(ref) < 0:
                return None
            state = self._entities[ref] = EntityState(time, time)
            self._in_order = None
            self._nothing_expires_before = min(self._nothing_expires_before, self._entity_expiry(ref, state))
            changes.append(StructureChange(time, StructureEvent.ENTITY_APPEARED, ref))
            self._note(ref)
        elif time < state.first_seen:
            self._note(ref)
        state.see(source, time)
        return state

    def _note(self, what: EntityRef | RelationKey) -> None:
        self._log.note(self.version + 1, what)

    def _all_changed(self) -> None:
        self.version += 1
        self._log.forget(self.version)

    def _link(self, key: RelationKey, state: RelationState) -> None:
        self._relations[key] = state
        self._note(key)
        self._in_order = None
        self._outgoing.setdefault(key.source, set()).add(key)
        self._incoming.setdefault(key.target, set()).add(key)

    def _forget_relation(self, key: RelationKey, at: int, changes: list[StructureChange]) -> None:
        del self._relations[key]
        self._note(key)
        self._in_order = None
        for table, end in ((self._outgoing, key.source), (self._incoming, key.target)):
            table[end].discard(key)
            if not table[end]:
                del table[end]
        changes.append(StructureChange(at, StructureEvent.RELATION_EXPIRED, key.source, key))

    def _touching(self, ref: EntityRef) -> set[RelationKey]:
        return self._outgoing.get(ref, set()) | self._incoming.get(ref, set())

    def _entity_expiry(self, ref: EntityRef, state: EntityState) -> int:
        return state.last_seen + self._limits.entity_time_to_live.get(ref.kind, self._limits.time_to_live)

    def _relation_expiry(self, key: RelationKey, state: RelationState) -> int:
        return state.last_seen + self._limits.relation_time_to_live.get(key.kind, self._limits.time_to_live)

    def _entity(self, ref: EntityRef, state: EntityState) -> Entity:
        return Entity(ref, state.attributes(self._limits.label_hold), state.sources, state.first_seen, state.last_seen)

    def _relation(self, key: RelationKey, state: RelationState) -> Relation:
        statistics = None
        if state.traffic is not None:
            window = max(self.at // self._limits.window, state.traffic.newest)
            statistics = state.traffic.statistics(window, self._limits.statistics_windows, self._limits.window)
        return Relation(key, state.sources, state.combined, state.first_seen, state.last_seen, statistics)


def describe_change(moved: Iterable[tuple[str, str, str]]) -> str:
    """(attribute, before, after) as "service.version: 1.2 -> 1.3"; one that was unknown before as "service.version: 1.2"."""
    return ", ".join(f"{name}: {before} -> {after}" if before else f"{name}: {after}" for name, before, after in moved)
