"""Which parts of the structure changed lately, by version: who follows the graph need not read it all again."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from graph.topology import RelationKey
from schema.identity import EntityRef

MOST_CHANGES = 100_000


@dataclass(frozen=True, slots=True)
class Touched:
    """What may differ from an earlier version: entities and relations that came, went, or are told of otherwise."""

    entities: frozenset[EntityRef]
    relations: frozenset[RelationKey]


class ChangeLog:
    """The latest changes, at most `most`; what is older is forgotten."""

    def __init__(self, most: int = MOST_CHANGES) -> None:
        self._changes: deque[tuple[int, EntityRef | RelationKey]] = deque(maxlen=most)
        self._known_since = 0
        self.newest = 0

    def note(self, version: int, what: EntityRef | RelationKey) -> None:
        """Something changes with this version, which is no older than any before."""
        if len(self._changes) == self._changes.maxlen:
            self._known_since = self._changes[0][0]
        self._changes.append((version, what))
        self.newest = version

    def forget(self, version: int) -> None:
        """All may have changed with this version."""
        self._changes.clear()
        self._known_since = self.newest = version

    def since(self, version: int) -> Touched | None:
        """What changed after a version; None where that is no longer known."""
        if version < self._known_since:
            return None
        entities, relations = set(), set()
        for at, what in reversed(self._changes):
            if at <= version:
                break
            if isinstance(what, RelationKey):
                relations.add(what)
            else:
                entities.add(what)
        return Touched(frozenset(entities), frozenset(relations))
