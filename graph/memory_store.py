"""The oracle: the simplest store that is right. Every version of everything is kept in lists; questions walk them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from graph.attributes import EntityAttributes, RelationDependencies, held_together
from graph.merging import attributes_json, change_detail, entity_change_order, merged_sources, supersedes
from graph.records import EntityInterval, Record, RelationInterval, SavedState
from graph.store import StoreError
from graph.topology import Difference, Direction, Entity, Relation, RelationKey, Snapshot, StructureChange, StructureEvent
from graph.walks import difference, shortest_paths, snapshot_of, within
from schema.identity import EntityRef
from schema.verdicts import EntityChange, Incident, IncidentState

Value = TypeVar("Value", Entity, Relation)
Thing = TypeVar("Thing")


@dataclass(slots=True)
class _Version(Generic[Value]):
    value: Value
    opened: int
    closed: int | None = None
    told: int = 0

    def holds(self, at: int | None) -> bool:
        if at is None:
            return self.closed is None
        return self.opened <= at and (self.closed is None or at < self.closed)


class MemoryGraphStore:
    """GraphStore in memory."""

    def __init__(self) -> None:
        self._entities: dict[EntityRef, list[_Version[Entity]]] = {}
        self._relations: dict[RelationKey, list[_Version[Relation]]] = {}
        self._attributes: dict[EntityRef, EntityAttributes] = {}
        self._dependencies: dict[RelationKey, RelationDependencies] = {}
        self._changes: list[StructureChange] = []
        self._entity_changes: set[EntityChange] = set()
        self._incidents: dict[str, Incident] = {}
        self._state: dict[str, bytes] = {}

    async def ensure_schema(self) -> None:
        """Nothing to create."""

    async def close(self) -> None:
        """Nothing to release."""

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        for entity in entities:
            versions = self._entities.setdefault(entity.ref, [])
            current = _present(versions)
            if current is None:
                if entity.last_seen > _ended(versions):
                    opened = _open(versions, entity, entity.first_seen, entity.last_seen)
                    self._changes.append(StructureChange(opened, StructureEvent.ENTITY_APPEARED, entity.ref))
                continue
            known = current.value
            merged = replace(_merged(known, entity), attributes=known.attributes)
            before, after = attributes_json(known.attributes), attributes_json(entity.attributes)
            if before == after:
                current.value, current.told = merged, max(current.told, entity.last_seen)
            elif supersedes(after, entity.last_seen, before, current.told):
                current.closed = max(current.opened, entity.last_seen)
                opened = _open(versions, replace(merged, attributes=entity.attributes), entity.last_seen, entity.last_seen)
                detail = change_detail(known.attributes, entity.attributes)
                self._changes.append(StructureChange(opened, StructureEvent.ENTITY_CHANGED, entity.ref, detail=detail))
            else:
                current.value = merged

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        for relation in relations:
            for end in (relation.key.source, relation.key.target):
                if _present(self._entities.get(end, [])) is None:
                    raise StoreError(f"The relation {relation.key.kind} needs its end {end}, which the store does not hold: upsert entities first.")
        for relation in relations:
            versions = self._relations.setdefault(relation.key, [])
            current = _present(versions)
            if current is not None:
                confidence = max(relation.confidence, current.value.confidence)
                current.value = replace(_merged(current.value, relation), confidence=confidence, statistics=relation.statistics)
            elif relation.last_seen > _ended(versions):
                opened = _open(versions, relation, relation.first_seen, relation.last_seen)
                self._changes.append(StructureChange(opened, StructureEvent.RELATION_APPEARED, relation.key.source, relation.key))

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> Sequence[EntityRef | RelationKey]:
        return [ref for ref in entities if not _touch(self._entities.get(ref, []), at)] + [
            key for key in relations if not _touch(self._relations.get(key, []), at)
        ]

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        gone = {ref for ref in entities if _last_seen(self._entities.get(ref, [])) <= at}
        taken = {key for key in self._relations if key.source in gone or key.target in gone}
        taken.update(key for key in relations if _last_seen(self._relations.get(key, [])) <= at)
        for key in sorted(taken):
            relation = _present(self._relations.get(key, []))
            if relation is not None:
                relation.closed = max(relation.opened, at)
                self._dependencies.pop(key, None)
                self._changes.append(StructureChange(relation.closed, StructureEvent.RELATION_EXPIRED, key.source, key))
        for ref in sorted(gone):
            entity = _present(self._entities.get(ref, []))
            if entity is not None:
                entity.closed = max(entity.opened, at)
                self._attributes.pop(ref, None)
                self._changes.append(StructureChange(entity.closed, StructureEvent.ENTITY_EXPIRED, ref))

    async def get(self, ref: EntityRef, at: int | None = None) -> Entity | None:
        return next((version.value for version in self._entities.get(ref, []) if version.holds(at)), None)

    async def find(self, kind: str | None = None, text: str = "", limit: int = 100, after: EntityRef | None = None) -> Sequence[Entity]:
        found = [
            entity
            for entity in (await self.snapshot()).entities
            if (kind is None or entity.ref.kind == kind) and text.lower() in str(entity.ref).lower() and (after is None or str(entity.ref) > str(after))
        ]
        return found[:limit]

    async def neighbours(
        self, ref: EntityRef, depth: int = 1, at: int | None = None, *, direction: Direction = Direction.EITHER, most: int | None = None
    ) -> Snapshot:
        return within(await self.snapshot(at), ref, depth, at, direction, most)

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        return shortest_paths([relation.key for relation in (await self.snapshot()).relations], source, target, limit, longest)

    async def snapshot(self, at: int | None = None) -> Snapshot:
        entities = [version.value for versions in self._entities.values() for version in versions if version.holds(at)]
        relations = [version.value for versions in self._relations.values() for version in versions if version.holds(at)]
        return snapshot_of(sorted(entities, key=lambda entity: str(entity.ref)), sorted(relations, key=lambda relation: key_texts(relation.key)), at)

    async def changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[StructureChange]:
        chosen = [change for change in self._changes if change.at > since and (until is None or change.at <= until)]
        return sorted(chosen, key=change_order)[:limit]

    async def diff(self, before: int, after: int) -> Difference:
        return difference(await self.snapshot(before), await self.snapshot(after))

    async def save_attributes(self, entities: Sequence[EntityAttributes], relations: Sequence[RelationDependencies] = ()) -> None:
        for told in entities:
            if _present(self._entities.get(told.entity, [])) is None or self._attributes.get(told.entity) == told:
                continue
            self._attributes.pop(told.entity, None)
            self._dependencies = {key: over for key, over in self._dependencies.items() if told.entity not in {key.source, key.target}}
            if told.attributes:
                self._attributes[told.entity] = told
        for over in relations:
            key = over.relation
            if _present(self._relations.get(key, [])) is not None:
                self._dependencies.pop(key, None)
                if held := held_together(over, self._attributes.get(key.source), self._attributes.get(key.target)):
                    self._dependencies[key] = held

    async def attributes(self, entities: Sequence[EntityRef]) -> Sequence[EntityAttributes | RelationDependencies]:
        chosen = {*entities}
        return [each for each in self._all_attributes() if (each.entity if isinstance(each, EntityAttributes) else each.relation.source) in chosen]

    def _all_attributes(self) -> list[EntityAttributes | RelationDependencies]:
        held = [self._attributes[ref] for ref in sorted(self._attributes, key=str)]
        return [*held, *(self._dependencies[key] for key in sorted(self._dependencies, key=key_texts))]

    async def compact(self, before: int, most: int) -> int:
        ended = [*_ended_before(self._entities, before), *_ended_before(self._relations, before)]
        forgotten = sorted(ended, key=lambda each: each[0])[:most]
        for _, forget in forgotten:
            forget()
        if forgotten:
            self._changes = [change for change in self._changes if change.at >= before or self._holds_what(change)]
        kept = {change for incident in self._incidents.values() for change in incident.changes}
        over = sorted((change for change in self._entity_changes - kept if change.at < before), key=entity_change_order)
        self._entity_changes.difference_update(over[:most])
        return len(forgotten)

    def _holds_what(self, change: StructureChange) -> bool:
        if change.relation is not None:
            return _tells_of(change, self._relations.get(change.relation, []))
        return _tells_of(change, self._entities.get(change.entity, []))

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        yield [
            EntityInterval(version.value, version.opened, version.closed, version.told)
            for ref in sorted(self._entities, key=str)
            for version in sorted(self._entities[ref], key=_order)
        ]
        yield [
            RelationInterval(version.value, version.opened, version.closed)
            for key in sorted(self._relations, key=key_texts)
            for version in sorted(self._relations[key], key=_order)
        ]
        yield self._all_attributes()
        changes = sorted(self._changes, key=change_order)
        yield changes
        yield list(await self.entity_changes(-1))
        yield [self._incidents[name] for name in sorted(self._incidents)]
        yield [SavedState(name, self._state[name]) for name in sorted(self._state)]

    async def load(self, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, EntityInterval):
                _keep(self._entities.setdefault(record.entity.ref, []), _Version(record.entity, record.opened, record.closed, record.told))
            elif isinstance(record, RelationInterval):
                relation = _Version(record.relation, record.opened, record.closed, record.relation.last_seen)
                _keep(self._relations.setdefault(record.relation.key, []), relation)
            elif isinstance(record, EntityAttributes):
                await self.save_attributes([record])
            elif isinstance(record, RelationDependencies):
                await self.save_attributes([], [record])
            elif isinstance(record, SavedState):
                self._state[record.name] = record.content
            elif isinstance(record, StructureChange):
                if record not in self._changes:
                    self._changes.append(record)
            elif isinstance(record, EntityChange):
                self._entity_changes.add(record)
            else:
                await self.save_incidents([record])

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        self._incidents.update({incident.id: incident for incident in incidents})
        self._entity_changes.update(change for incident in incidents for change in incident.changes)

    async def save_entity_changes(self, changes: Sequence[EntityChange]) -> None:
        self._entity_changes.update(changes)

    async def entity_changes(self, since: int, until: int | None = None, limit: int | None = None) -> Sequence[EntityChange]:
        chosen = (change for change in self._entity_changes if change.at > since and (until is None or change.at <= until))
        return sorted(chosen, key=entity_change_order)[:limit]

    async def incidents(self, state: IncidentState | None = None, limit: int = 100) -> Sequence[Incident]:
        chosen = [incident for incident in self._incidents.values() if state is None or incident.state == state]
        return sorted(chosen, key=lambda incident: (-incident.opened_at, incident.id))[:limit]

    async def save_state(self, name: str, content: bytes) -> None:
        self._state[name] = content

    async def load_state(self, name: str) -> bytes | None:
        return self._state.get(name)


def key_texts(key: RelationKey) -> tuple[str, str, str]:
    """The order of relations everywhere in the stores: by the texts of source, kind and target."""
    return str(key.source), key.kind, str(key.target)


def change_order(change: StructureChange) -> tuple[Any, ...]:
    """The order of changes everywhere in the stores."""
    return change.at, change.event, str(change.entity), key_texts(change.relation) if change.relation else (), change.detail


def _present(versions: Sequence[_Version[Value]]) -> _Version[Value] | None:
    return next((version for version in versions if version.closed is None), None)


def _ended(versions: Sequence[_Version[Value]]) -> int:
    return max((version.closed for version in versions if version.closed is not None), default=-1)


def _last_seen(versions: Sequence[_Version[Value]]) -> int:
    current = _present(versions)
    return 0 if current is None else current.value.last_seen


def _touch(versions: Sequence[_Version[Value]], at: int) -> bool:
    current = _present(versions)
    if current is not None:
        current.value = replace(current.value, last_seen=max(at, current.value.last_seen))
    return current is not None


def _merged(known: Value, seen: Value) -> Value:
    first, last = min(known.first_seen, seen.first_seen), max(known.last_seen, seen.last_seen)
    return replace(known, sources=merged_sources(known.sources, seen.sources), first_seen=first, last_seen=last)


def _keep(versions: list[_Version[Value]], version: _Version[Value]) -> None:
    if version not in versions:
        versions.append(version)


def _ended_before(table: Mapping[Thing, list[_Version[Value]]], before: int) -> Iterator[tuple[int, Callable[[], None]]]:
    for versions in table.values():
        for version in versions:
            if version.closed is not None and version.closed < before:
                yield version.closed, partial(versions.remove, version)


def _tells_of(change: StructureChange, versions: Sequence[_Version[Value]]) -> bool:
    return any(change.at in {version.opened, version.closed} for version in versions)


def _order(version: _Version[Value]) -> tuple[int, float]:
    return version.opened, math.inf if version.closed is None else version.closed


def _open(versions: list[_Version[Value]], value: Value, at: int, told: int) -> int:
    """Opens a new version; the intervals of one thing never overlap, whatever the times that come. Returns when it opened."""
    opened = max(at, _ended(versions))
    versions.append(_Version(value, opened, told=told))
    return opened
