"""Walks over a snapshot, shared by stores that keep the estate in memory or fetch a part of it."""

from __future__ import annotations

from collections.abc import Sequence

from graph.topology import RelationKey, Snapshot
from schema.identity import EntityRef


def within(snapshot: Snapshot, ref: EntityRef, depth: int) -> Snapshot:
    """The part of a snapshot within `depth` relations of `ref`, in either direction, and the relations among it."""
    touching: dict[EntityRef, list[EntityRef]] = {}
    for relation in snapshot.relations:
        touching.setdefault(relation.key.source, []).append(relation.key.target)
        touching.setdefault(relation.key.target, []).append(relation.key.source)
    seen = {ref} & {entity.ref for entity in snapshot.entities}
    frontier = set(seen)
    for _ in range(depth):
        frontier = {end for at in frontier for end in touching.get(at, [])} - seen
        seen |= frontier
    entities = tuple(entity for entity in snapshot.entities if entity.ref in seen)
    relations = tuple(relation for relation in snapshot.relations if relation.key.source in seen and relation.key.target in seen)
    return Snapshot(snapshot.at, entities, relations)


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
