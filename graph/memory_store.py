"""The oracle: the simplest store that is right. Every version of everything is kept in lists; questions walk them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from graph.store import StoreError
from graph.topology import Entity, Relation, RelationKey, Snapshot, StructureChange, StructureEvent
from graph.walks import shortest_paths, snapshot_of, within
from schema.identity import EntityRef
from schema.verdicts import Incident, IncidentState

Value = TypeVar("Value")


@dataclass(slots=True)
class _Version(Generic[Value]):
    value: Value
    opened: int
    closed: int | None = None

    def holds(self, at: int | None) -> bool:
        if at is None:
            return self.closed is None
        return self.opened <= at and (self.closed is None or at < self.closed)


class MemoryGraphStore:
    """GraphStore in memory."""

    def __init__(self) -> None:
        self._entities: dict[EntityRef, list[_Version[Entity]]] = {}
        self._relations: dict[RelationKey, list[_Version[Relation]]] = {}
        self._changes: list[StructureChange] = []
        self._incidents: dict[str, Incident] = {}
        self._state: dict[str, bytes] = {}

    async def ensure_schema(self) -> None:
        """Nothing to create."""

    async def close(self) -> None:
        """Nothing to release."""

    async def upsert_entities(self, entities: Sequence[Entity]) -> None:
        for entity in entities:
            current = _present(self._entities.get(entity.ref, []))
            if current is None:
                opened = _open(self._entities.setdefault(entity.ref, []), entity, entity.first_seen)
                self._changes.append(StructureChange(opened, StructureEvent.ENTITY_APPEARED, entity.ref))
                continue
            merged = replace(entity, first_seen=current.value.first_seen, last_seen=max(entity.last_seen, current.value.last_seen))
            if dict(entity.attributes) == dict(current.value.attributes):
                current.value = merged
            else:
                current.closed = max(current.opened, entity.last_seen)
                opened = _open(self._entities[entity.ref], merged, entity.last_seen)
                self._changes.append(StructureChange(opened, StructureEvent.ENTITY_CHANGED, entity.ref))

    async def upsert_relations(self, relations: Sequence[Relation]) -> None:
        for relation in relations:
            for end in (relation.key.source, relation.key.target):
                if _present(self._entities.get(end, [])) is None:
                    raise StoreError(f"The relation {relation.key.kind} needs its end {end}, which the store does not hold: upsert entities first.")
        for relation in relations:
            current = _present(self._relations.get(relation.key, []))
            if current is None:
                opened = _open(self._relations.setdefault(relation.key, []), relation, relation.first_seen)
                self._changes.append(StructureChange(opened, StructureEvent.RELATION_APPEARED, relation.key.source, relation.key))
            else:
                last = max(relation.last_seen, current.value.last_seen)
                current.value = replace(relation, first_seen=current.value.first_seen, last_seen=last)

    async def touch(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        for ref in entities:
            entity = _present(self._entities.get(ref, []))
            if entity is not None:
                entity.value = replace(entity.value, last_seen=max(at, entity.value.last_seen))
        for key in relations:
            relation = _present(self._relations.get(key, []))
            if relation is not None:
                relation.value = replace(relation.value, last_seen=max(at, relation.value.last_seen))

    async def expire(self, entities: Sequence[EntityRef], relations: Sequence[RelationKey], at: int) -> None:
        gone = set(entities)
        taken = {key for key in self._relations if key.source in gone or key.target in gone}
        for key in sorted(set(relations) | taken):
            relation = _present(self._relations.get(key, []))
            if relation is not None:
                relation.closed = max(relation.opened, at)
                self._changes.append(StructureChange(relation.closed, StructureEvent.RELATION_EXPIRED, key.source, key))
        for ref in sorted(gone):
            entity = _present(self._entities.get(ref, []))
            if entity is not None:
                entity.closed = max(entity.opened, at)
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

    async def neighbours(self, ref: EntityRef, depth: int = 1, at: int | None = None) -> Snapshot:
        return within(await self.snapshot(at), ref, depth, at)

    async def paths(self, source: EntityRef, target: EntityRef, limit: int = 10, longest: int = 8) -> Sequence[Sequence[RelationKey]]:
        return shortest_paths([relation.key for relation in (await self.snapshot()).relations], source, target, limit, longest)

    async def snapshot(self, at: int | None = None) -> Snapshot:
        entities = [version.value for versions in self._entities.values() for version in versions if version.holds(at)]
        relations = [version.value for versions in self._relations.values() for version in versions if version.holds(at)]
        return snapshot_of(sorted(entities, key=lambda entity: str(entity.ref)), sorted(relations, key=lambda relation: key_texts(relation.key)), at)

    async def changes(self, since: int, until: int | None = None) -> Sequence[StructureChange]:
        chosen = [change for change in self._changes if change.at > since and (until is None or change.at <= until)]
        return sorted(chosen, key=lambda change: (change.at, change.event, str(change.entity), key_texts(change.relation) if change.relation else ()))

    async def save_incidents(self, incidents: Sequence[Incident]) -> None:
        self._incidents.update({incident.id: incident for incident in incidents})

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


def _present(versions: Sequence[_Version[Value]]) -> _Version[Value] | None:
    return next((version for version in versions if version.closed is None), None)


def _open(versions: list[_Version[Value]], value: Value, at: int) -> int:
    """Opens a new version; the intervals of one thing never overlap, whatever the times that come. Returns when it opened."""
    opened = max([at, *(version.closed for version in versions if version.closed is not None)])
    versions.append(_Version(value, opened))
    return opened
