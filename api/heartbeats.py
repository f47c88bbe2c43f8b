"""Heartbeats: what was seen again, told to the store each minute of event time in a few statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from api.pipeline import Step
from graph.live import LiveGraph
from graph.store import GraphStore, StoreError, StoreUnavailableError
from graph.topology import Relation, RelationKey
from schema.identity import EntityRef

SECOND = 1_000_000_000
HEARTBEAT = 60 * SECOND
FRESHENED = 5_000


class Heartbeats:
    """Notes who was seen when. A heartbeat that the store missed is not repeated: the next says the same.

    `freshened`: the statistics of how many relations are renewed with each, in turn.
    """

    def __init__(self, graph: LiveGraph, *, freshened: int = FRESHENED) -> None:
        self._graph = graph
        self._freshened = freshened
        self._seen: dict[EntityRef | RelationKey, int] = {}
        self._turn = 0
        self._last = 0
        self._due = False

    def note(self, step: Step) -> None:
        """Whom a window saw."""
        end = step.closed.window.end
        for seen in step.closed.delta.entities:
            self._seen[seen.ref] = end
        for relation in step.closed.delta.relations:
            self._seen[relation.key] = end
        if not 0 <= end - self._last < HEARTBEAT:
            self._last, self._due = end, True

    async def beat(self, store: GraphStore, missing: Callable[[Sequence[EntityRef | RelationKey]], None]) -> None:
        """Tells the store, if it is time; and `missing` what it did not hold, before that is written anew. Raises StoreUnavailableError."""
        if not self._due:
            return
        self._due = False
        seen, self._seen = self._seen, {}
        by_time: dict[int, tuple[list[EntityRef], list[RelationKey]]] = {}
        for what, at in seen.items():
            entities, relations = by_time.setdefault(at, ([], []))
            if isinstance(what, RelationKey):
                relations.append(what)
            else:
                entities.append(what)
        for at in sorted(by_time):
            if found := await store.touch(*by_time[at], at):
                missing(found)
                await self._bring_back(store, found)
        await self._freshen(store, [what for what in seen if isinstance(what, RelationKey)])

    async def _bring_back(self, store: GraphStore, missing: Sequence[EntityRef | RelationKey]) -> None:
        """What the store does not hold, and the live graph does: another writer let it expire."""
        keys = [what for what in missing if isinstance(what, RelationKey)]
        refs = {what for what in missing if isinstance(what, EntityRef)}.union(end for key in keys for end in (key.source, key.target))
        entities = [entity for ref in sorted(refs) if (entity := self._graph.entity(ref)) is not None]
        relations = [relation for key in sorted(keys) if (relation := self._graph.relation(key)) is not None]
        if entities:
            await store.upsert_entities(entities)
        if relations:
            await self._upsert(store, relations)

    async def _freshen(self, store: GraphStore, keys: list[RelationKey]) -> None:
        start = self._turn if self._turn < len(keys) else 0
        self._turn = start + self._freshened
        relations = [relation for key in keys[start : self._turn] if (relation := self._graph.relation(key)) is not None and relation.statistics is not None]
        if relations:
            await self._upsert(store, relations)

    async def _upsert(self, store: GraphStore, relations: Sequence[Relation]) -> None:
        try:
            await store.upsert_relations(relations)
        except StoreUnavailableError:
            raise
        except StoreError:
            # An end is missing, which the next heartbeat brings back.
            return
