"""What is learned, written to the store: structure at once, heartbeats and what a restart needs now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from api.instants import write_instant
from api.memory import Memory, memory_from
from api.pipeline import Pipeline, Step
from graph.live import LiveGraph
from graph.saved_state import SavedStateError
from graph.store import GraphStore, StoreError
from graph.topology import RelationKey, StructureEvent
from schema.identity import EntityRef
from schema.verdicts import Incident

SECOND = 1_000_000_000
HEARTBEAT = 60 * SECOND
WAITING = 1_000_000
APPEARED = frozenset({StructureEvent.ENTITY_APPEARED, StructureEvent.ENTITY_CHANGED, StructureEvent.RELATION_APPEARED})
MEMORY = "memory"
log = logging.getLogger("whence.store")


class GraphWriter:
    """Follows the pipeline's steps. What a failing store refuses stays due and is written with a later step.

    `waiting`: how many changes of each kind may be due; beyond that they are not noted, and counted in `dropped`.
    """

    def __init__(self, graph: LiveGraph, store: GraphStore, *, waiting: int = WAITING) -> None:
        self._graph = graph
        self._store = store
        self._limit = waiting
        self._entities: set[EntityRef] = set()
        self._relations: set[RelationKey] = set()
        self._gone: dict[EntityRef | RelationKey, int] = {}
        self._incidents: dict[str, Incident] = {}
        self._last_heartbeat = 0
        self._lost = 0
        self.durable_through = 0
        self.trouble = ""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Changes that never reach the store, by reason."""
        return {"store_backlog_full": self._lost} if self._lost else {}

    async def follow(self, step: Step) -> None:
        """Writes a step; incidents are committed when this returns, unless `trouble` says why not."""
        self._note(step)
        try:
            await self._write()
        except StoreError as trouble:
            if not self.trouble:
                log.warning("The store takes no writes, changes wait in memory: %s", trouble)
            self.trouble = f"{trouble}"
            return
        if self.trouble:
            log.warning("The store takes writes again; what waited is written.")
        self.trouble = ""
        self.durable_through = step.closed.window.end

    def _note(self, step: Step) -> None:
        for change in (*step.closed.changes, *step.expired):
            what = change.relation or change.entity
            if change.event in APPEARED:
                self._wait_for(what)
            elif what in self._gone or len(self._gone) < self._limit:
                self._gone[what] = change.at
            else:
                self._lost += 1
        self._incidents.update({incident.id: incident for incident in step.incidents})
        if not 0 <= step.closed.window.end - self._last_heartbeat < HEARTBEAT:
            self._last_heartbeat = step.closed.window.end
            for seen in step.closed.delta.entities:
                self._wait_for(seen.ref)
            for relation in step.closed.delta.relations:
                self._wait_for(relation.key)

    def _wait_for(self, what: EntityRef | RelationKey) -> None:
        if len(self._entities) + len(self._relations) >= self._limit:
            self._lost += 1
        elif isinstance(what, RelationKey):
            # A store takes a relation only with both its ends.
            self._relations.add(what)
            self._entities.update((what.source, what.target))
        else:
            self._entities.add(what)

    async def _write(self) -> None:
        entities = [entity for ref in sorted(self._entities) if (entity := self._graph.entity(ref)) is not None]
        relations = [relation for key in sorted(self._relations) if (relation := self._graph.relation(key)) is not None]
        if entities:
            await self._store.upsert_entities(entities)
        if relations:
            await self._store.upsert_relations(relations)
        self._entities.clear()
        self._relations.clear()
        if self._gone:
            await self._expire()
        if self._incidents:
            await self._store.save_incidents([self._incidents[name] for name in sorted(self._incidents)])
            self._incidents.clear()

    async def _expire(self) -> None:
        entities = [what for what in self._gone if isinstance(what, EntityRef) and self._graph.entity(what) is None]
        relations = [what for what in self._gone if isinstance(what, RelationKey) and self._graph.relation(what) is None]
        if entities or relations:
            await self._store.expire(entities, relations, max(self._gone.values()))
        self._gone.clear()


class MemoryKeeper:
    """Saves what a restart needs each minute of event time, when an incident opens or closes, and at the end.

    Only a copy is made in between windows; it is packed on another thread and written while the pipeline goes on.
    """

    def __init__(self, pipeline: Pipeline, store: GraphStore) -> None:
        self._pipeline = pipeline
        self._store = store
        self._saving: asyncio.Task[None] | None = None
        self._next: Memory | None = None
        self._saved = 0
        self._closed = False
        self._troubled = False

    async def resume(self) -> bool:
        """Takes up what was saved, after the pipeline was restored; False, and a line in the log, where that can't be. Raises StoreError."""
        content = await self._store.load_state(MEMORY)
        if content is None:
            return False
        try:
            self._pipeline.resume(await asyncio.to_thread(memory_from, content))
        except SavedStateError as trouble:
            log.warning(
                "What was believed before can't be taken up: %s. Whence starts with empty evidence and learns what is usual anew; "
                "the estate and open incidents are back.",
                trouble,
            )
            return False
        self._saved = self._pipeline.reasoner.diagnosis.at
        log.info("What was believed at %s is believed again.", write_instant(self._saved))
        return True

    def follow(self, step: Step) -> None:
        """Begins to save if it is time; one that is still under way is finished first."""
        at = step.closed.window.end
        turned = any(at in {incident.opened_at, incident.closed_at} for incident in step.incidents)
        if not self._closed and (turned or not 0 <= at - self._saved < HEARTBEAT):
            self._begin()

    async def close(self) -> None:
        """Saves what is believed now, and nothing after that: windows that are cut short by the end would teach it wrong."""
        self._closed = True
        if self._saving is not None:
            await asyncio.wait({self._saving})
        if self._pipeline.reasoner.diagnosis.at != self._saved:
            await asyncio.wait({self._begin()})

    def _begin(self) -> asyncio.Task[None]:
        self._next = self._pipeline.memory()
        self._saved = self._next.belief.at
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._save_what_waits())
            self._saving.add_done_callback(_report)
        return self._saving

    async def _save_what_waits(self) -> None:
        while self._next is not None:
            memory, self._next = self._next, None
            await self._save(memory)

    async def _save(self, memory: Memory) -> None:
        try:
            await self._store.save_state(MEMORY, await asyncio.to_thread(memory.packed))
        except StoreError as trouble:
            if not self._troubled:
                log.warning("What is believed could not be saved; a restart now would begin with what was saved before: %s", trouble)
            self._troubled = True
        else:
            self._troubled = False


def _report(saving: asyncio.Task[None]) -> None:
    """A fault of our own in saving is told, and the pipeline goes on."""
    if not saving.cancelled() and (fault := saving.exception()) is not None:
        log.error("What is believed could not be saved.", exc_info=fault)
