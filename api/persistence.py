"""What a restart needs beside the estate, saved to the store now and then."""

from __future__ import annotations

import asyncio
import logging

from api.instants import write_instant
from api.memory import Memory, memory_from
from api.pipeline import Pipeline, Step
from graph.saved_state import SavedStateError
from graph.store import GraphStore, StoreError
from graph.topology import Snapshot
from schema.verdicts import Incident

SECOND = 1_000_000_000
HEARTBEAT = 60 * SECOND
MEMORY = "memory"
log = logging.getLogger("whence.store")


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
        try:
            if (memory := await self._saved_memory()) is None:
                return False
            self._pipeline.resume(memory)
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

    async def join(self, snapshot: Snapshot, incidents: tuple[Incident, ...]) -> None:
        """`Pipeline.join` with what was saved. Raises StoreError, with nothing taken over."""
        try:
            memory = await self._saved_memory()
        except SavedStateError as trouble:
            log.warning("What was believed before can't be taken up: %s. What was learnt since the start stands.", trouble)
            memory = None
        try:
            self._pipeline.join(snapshot, incidents, memory)
        except SavedStateError as trouble:
            log.warning("What was believed before can't be taken up: %s. What was learnt since the start stands.", trouble)

    async def _saved_memory(self) -> Memory | None:
        content = await self._store.load_state(MEMORY)
        return None if content is None else await asyncio.to_thread(memory_from, content)

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
