"""The running Whence: one owner of the pipeline, on the event loop. Doors put telemetry in and ask it questions; nothing else holds state."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from api.graph_writer import GraphWriter, WriterLimits
from api.hub import DiagnosisHub
from api.instants import write_instant
from api.persistence import MemoryKeeper
from api.pipeline import Pipeline, Step
from graph.attribute_model import AttributeModel
from graph.journal import Journal
from graph.store import GraphStore, StoreAwayError, StoreError
from ingest.errors import OverloadedError
from reasoning.export import NamedNetwork
from schema.batches import Batch, LogBatch
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import CausalModelError
from schema.verdicts import CauseSets, ConditionRef, DefectRef, Diagnosis, Explanation, Impact, Incident, IncidentState, Intervention, WhatIf

KEPT_DIAGNOSES = 1_440
WAITING_SENDERS = 256
STOP_SECONDS = 1.0
log = logging.getLogger("whence.runtime")


class NoDiagnosisError(Exception):
    """There is no diagnosis of that instant; the message says which there are."""


@dataclass(frozen=True, slots=True)
class Status:
    """What `whence doctor`, /readyz and the Status type show. Times are epoch nanoseconds, 0 for never."""

    at: int
    knowledge: str
    entities: int
    relations: int
    open_incidents: int
    durable_through: int
    store_trouble: str
    dropped: Mapping[str, int]
    journalled: int = 0
    compacted: int = 0
    unsettled: Sequence[EntityRef] = ()
    knowledge_trouble: str = ""


class Runtime:
    """Everything a door may do. All calls come from the event loop; `take` is the only one that changes what is believed."""

    def __init__(self, pipeline: Pipeline, store: GraphStore, journal: Journal | None = None, *, limits: WriterLimits | None = None) -> None:
        self.pipeline = pipeline
        self.store = store
        self.hub = DiagnosisHub()
        self._writer = GraphWriter(pipeline.graph, store, journal, limits=limits, model=AttributeModel(pipeline.knowledge))
        self._keeper = MemoryKeeper(pipeline, store)
        self._retry = (limits or WriterLimits()).retry
        self._joining: asyncio.Task[None] | None = None
        self._taken_up = False
        self._turn = asyncio.Lock()
        self._senders = 0
        self._records_without_trace = 0
        self._past: deque[Diagnosis] = deque(maxlen=KEPT_DIAGNOSES)
        self._reading_rules = asyncio.Lock()
        self._knowledge_trouble = ""
        self.knowledge_reloads: Counter[str] = Counter()
        self.ready = False
        self.windows_closed = 0

    async def start(self) -> None:
        """Opens the store and takes over what it remembers. One that is away is taken up when it answers: until then all is written to the journal.

        Raises StoreError for any other trouble; the store is then closed.
        """
        try:
            try:
                await self._take_up()
            except StoreAwayError as away:
                log.warning("Whence starts without what its store remembers, and takes it up when the store answers: %s", away)
                await self._writer.hold(str(away))
                self._joining = asyncio.create_task(self._join())
                self._joining.add_done_callback(_report)
        except BaseException:
            await self.store.close()
            raise
        self.ready = True

    async def _take_up(self) -> None:
        await self.store.ensure_schema()
        await self._writer.begin()
        incidents = await self.store.incidents(IncidentState.OPEN, limit=1_000)
        self.pipeline.restore(await self.store.snapshot(), tuple(incidents))
        if await self._keeper.resume():
            self._writer.durable_through = self.diagnosis.at
            self._tell(self.diagnosis)
        self._taken_up = True

    async def _join(self) -> None:
        """Until the store answers and what it remembers was taken up, between two windows."""
        while not self._taken_up:
            await asyncio.sleep(self._retry)
            try:
                await self.store.ensure_schema()
                async with self._turn:
                    await self._writer.begin()
                    incidents = await self.store.incidents(IncidentState.OPEN, limit=1_000)
                    await self._keeper.join(await self.store.snapshot(), tuple(incidents))
                    self._taken_up = True
                log.warning("The store answers: what it remembers was taken up, what waited is written.")
            except StoreError as trouble:
                await self._writer.hold(str(trouble))

    async def stop(self) -> None:
        """Concludes what was received, writes it, and closes the store. What can't be concluded in STOP_SECONDS is let go, and said.

        Once stopped, or before `start`, it does nothing.
        """
        if not self.ready:
            return
        self.ready = False
        clock = asyncio.get_running_loop().time
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.wait({self._joining})
        async with self._turn:
            if self._taken_up:  # or it would take the place of what the store remembers
                await self._keeper.close()
            deadline = clock() + STOP_SECONDS
            for step in self.pipeline.finish():
                await self._settle(step)
                if clock() > deadline:
                    log.warning("Stopping took long: the telemetry of the last open windows was let go.")
                    break
            await self._writer.close()
        self.hub.close()
        await self.store.close()

    async def take(self, batch: Batch) -> None:
        """Takes a batch. The sender whose batch completes a window waits for its verdict: that is the backpressure.

        Raises OverloadedError while starting or stopping, and when too many senders wait.
        """
        if not self.ready:
            raise OverloadedError("Whence is not ready to take telemetry: send it again in a moment.")
        if self._senders >= WAITING_SENDERS:
            raise OverloadedError
        self._senders += 1
        self._records_without_trace += records_without_trace(batch)
        try:
            # A sender that gives up must not take a half-settled step with it.
            await asyncio.shield(asyncio.ensure_future(self._take(batch)))
        finally:
            self._senders -= 1

    async def _take(self, batch: Batch) -> None:
        async with self._turn:
            self.pipeline.add(batch)
            for step in self.pipeline.advance():
                await self._settle(step)
                await asyncio.sleep(0)
                if not self.ready:
                    return

    async def reload_knowledge(self, load: Callable[[], CausalKnowledge]) -> None:
        """Puts what `load` reads in force between two windows. What it refuses with CausalModelError changes nothing: it is told, and counted."""
        async with self._reading_rules:
            in_force = self.pipeline.knowledge.version
            try:
                knowledge = await asyncio.to_thread(load)
            except CausalModelError as error:
                self._knowledge_trouble = f"{error}"
                self.knowledge_reloads["refused"] += 1
                log.warning("The knowledge was refused, version %s stays in force: %s", in_force, error)
                return
            self._knowledge_trouble = ""
            if knowledge.version == in_force:
                self.knowledge_reloads["unchanged"] += 1
                log.info("The knowledge is the same, version %s stays in force.", in_force)
                return
            async with self._turn:
                if not self.ready:
                    return
                diagnosis = self.pipeline.know(knowledge)
                self._writer.know(AttributeModel(knowledge))
            self.knowledge_reloads["taken_up"] += 1
            log.info("Knowledge %s is in force, after %s.", knowledge.version, in_force)
            if self._past:
                self._past[-1] = diagnosis
                self.hub.publish(diagnosis)

    @property
    def diagnosis(self) -> Diagnosis:
        """The latest diagnosis."""
        return self.pipeline.reasoner.diagnosis

    def diagnosis_at(self, at: int) -> Diagnosis:
        """The diagnosis as of the last window that closed at or before `at`. Raises NoDiagnosisError."""
        place = bisect_right([each.at for each in self._past], at)
        if place == 0:
            oldest = f"the oldest one kept is of {write_instant(self._past[0].at)}" if self._past else "no window has closed yet"
            raise NoDiagnosisError(f"There is no diagnosis of that instant: {oldest}. Use `whence replay` on a recording to go further back.")
        return self._past[place - 1]

    def diagnoses(self) -> AsyncIterator[Diagnosis]:
        """The latest diagnosis, then each new one; a slow reader skips to the newest."""
        return self.hub.subscribe()

    async def incidents(self, state: IncidentState | None, limit: int) -> Sequence[Incident]:
        """Newest first, as committed to the store."""
        return await self.store.incidents(state, limit)

    def impact(self, of: DefectRef | ConditionRef) -> Impact:
        """What a defect or condition takes down. Raises ReasoningError."""
        return self.pipeline.reasoner.impact(of)

    def what_if(self, interventions: Sequence[Intervention]) -> WhatIf:
        """The estate under interventions. Raises ReasoningError."""
        return self.pipeline.reasoner.what_if(interventions)

    def explanation(self, first: int) -> Explanation:
        """Why the latest diagnosis is what it is: of its `first` root causes. Raises ReasoningError."""
        return self.pipeline.reasoner.explanation(first)

    def cause_sets(self, first: int) -> CauseSets:
        """The likeliest joint explanations of what the latest diagnosis saw. Raises ReasoningError."""
        return self.pipeline.reasoner.cause_sets(first)

    def named_network(self, root: EntityRef | None, depth: int) -> NamedNetwork:
        """The causal network around an entity, or the whole, with the findings. Raises ReasoningError."""
        return self.pipeline.reasoner.named_network(root, depth)

    def status(self) -> Status:
        """Where it stands."""
        graph = self.pipeline.graph
        uncorrelated = {"records_without_trace": self._records_without_trace} if self._records_without_trace else {}
        return Status(
            at=self.diagnosis.at,
            knowledge=self.pipeline.knowledge.version,
            entities=graph.entity_count,
            relations=graph.relation_count,
            open_incidents=len(self.pipeline.reasoner.incidents),
            durable_through=self._writer.durable_through,
            store_trouble=self._writer.trouble,
            dropped={**self.pipeline.dropped, **self._writer.dropped, **uncorrelated},
            journalled=self._writer.journalled,
            compacted=self._writer.compacted,
            unsettled=self.pipeline.reasoner.unsettled,
            knowledge_trouble=self._knowledge_trouble,
        )

    async def _settle(self, step: Step) -> None:
        # Incidents are committed before anyone is told.
        await self._writer.follow(step)
        if not self._writer.trouble:
            self._keeper.follow(step)
        self.windows_closed += 1
        self._tell(step.diagnosis)

    def _tell(self, diagnosis: Diagnosis) -> None:
        if self._past and diagnosis.at <= self._past[-1].at:
            log.warning(
                "Telemetry is of %s now, after %s: what is usual is learned anew, diagnoses of the time in between are gone.",
                write_instant(diagnosis.at),
                write_instant(self._past[-1].at),
            )
            self._past.clear()
        self._past.append(diagnosis)
        self.hub.publish(diagnosis)


def _report(joining: asyncio.Task[None]) -> None:
    """A fault of our own is told, and the pipeline goes on."""
    if not joining.cancelled() and (fault := joining.exception()) is not None:
        log.error("What the store remembers could not be taken up; writes wait in the journal.", exc_info=fault)


def records_without_trace(batch: Batch) -> int:
    """How many of a batch's log records a service wrote without a trace id: they count for the service, and for no request."""
    if not isinstance(batch, LogBatch) or not len(batch):
        return 0
    of_service = np.array([bool(resource.get("service.name")) for resource in batch.resources])[batch.resource]
    return int(np.count_nonzero(of_service & (batch.event < 0) & (batch.trace_high == 0) & (batch.trace_low == 0)))
