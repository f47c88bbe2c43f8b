"""Walks over a snapshot, shared by stores that keep the estate in memory or fetch a part of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graph.topology import Difference, Direction, Entity, Relation, RelationKey, Snapshot
from schema.identity import EntityRef


def snapshot_of(entities: Sequence[Entity], relations: Iterable[Relation], at: int | None) -> Snapshot:
    """The estate at `at`, or at its latest sighting. Relations whose ends were not there then are left out."""
    there = {entity.ref for entity in entities}
    held = tuple(relation for relation in relations if relation.key.source in there and relation.key.target in there)
    return Snapshot(instant_of(entities, at), tuple(entities), held)


def instant_of(entities: Iterable[Entity], at: int | None) -> int:
    """The instant a snapshot is of: `at`, or the latest sighting in it."""
    return max((entity.last_seen for entity in entities), default=0) if at is None else at


def within(snapshot: Snapshot, ref: EntityRef, depth: int, at: int | None, direction: Direction, most: int | None) -> Snapshot:
    """The part of a snapshot within `depth` relations of `ref`, the nearest `most` of it (ties in ascending identity), and the relations among it."""
    touching: dict[EntityRef, list[EntityRef]] = {}
    for relation in snapshot.relations:
        if direction is not Direction.DEPENDENTS:
            touching.setdefault(relation.key.source, []).append(relation.key.target)
        if direction is not Direction.DEPENDENCIES:
            touching.setdefault(relation.key.target, []).append(relation.key.source)
    seen = {ref} & {entity.ref for entity in snapshot.entities}
    frontier = set(seen)
    for _ in range(depth):
        further = {end for place in frontier for end in touching.get(place, [])} - seen
        frontier = set(sorted(further, key=str)[: None if most is None else max(0, most - len(seen))])
        seen |= frontier
    return snapshot_of([entity for entity in snapshot.entities if entity.ref in seen], snapshot.relations, at)


def shortest_paths(keys: Sequence[RelationKey], source: EntityRef, target: EntityRef, limit: int, longest: int) -> list[list[RelationKey]]:
    """Directed simple paths, shortest first, ties in ascending order. Bounded: at most 10,000 partial paths are grown a step."""
    outgoing: dict[EntityRef, list[RelationKey]] = {}
    for key in sorted(keys):
        outgoing.setdefault(key.source, []).append(key)
    found: list[list[RelationKey]] = []
    partial: list[list[RelationKey]] = [[]]
    for _ in range(longest):
        grown = []
        for path in partial:
            at = path[-1].target if path else source
            visited = {source} | {key.target for key in path}
            for key in outgoing.get(at, []):
                if key.target == target:
                    found.append([*path, key])
                elif key.target not in visited:
                    grown.append([*path, key])
        if len(found) >= limit:
            break
        partial = grown[:10_000]
    return found[:limit]


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """What lies between two snapshots in ascending order."""
    old, new = ({entity.ref: entity for entity in snapshot.entities} for snapshot in (before, after))
    old_keys, new_keys = ({relation.key for relation in snapshot.relations} for snapshot in (before, after))
    return Difference(
        tuple(entity for entity in after.entities if entity.ref not in old),
        tuple(entity for entity in before.entities if entity.ref not in new),
        tuple((old[entity.ref], entity) for entity in after.entities if entity.ref in old and dict(old[entity.ref].attributes) != dict(entity.attributes)),
        tuple(relation for relation in after.relations if relation.key not in old_keys),
        tuple(relation for relation in before.relations if relation.key not in new_keys),
    )
