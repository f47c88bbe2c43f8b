"""Batches in, verdicts out: the one synchronous path that `serve` and `replay` share. It owns the live graph and what is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from api.late_store import unknown_to
from api.memory import Memory
from graph.live import GraphLimits, LiveGraph
from graph.resolver import Resolver
from graph.topology import Snapshot, StructureChange
from ingest.assembler import AssemblerSettings, ClosedWindow, WindowAssembler
from reasoning.reasoner import Reasoner, ReasonerSettings
from schema.batches import Batch
from schema.knowledge import CausalKnowledge
from schema.verdicts import Diagnosis, Incident


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How telemetry is cut into windows, what the graph may hold, how evidence is weighed."""

    assembler: AssemblerSettings = field(default_factory=AssemblerSettings)
    graph: GraphLimits = field(default_factory=GraphLimits)
    reasoner: ReasonerSettings = field(default_factory=ReasonerSettings)
    default_cluster: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One closed window and what followed from it. `expired`: what was forgotten; `incidents`: those that changed."""

    closed: ClosedWindow
    expired: tuple[StructureChange, ...]
    diagnosis: Diagnosis
    incidents: tuple[Incident, ...]


class Pipeline:
    """`add` batches as they come; `advance` closes the windows that are complete, in order."""

    def __init__(self, knowledge: CausalKnowledge, settings: PipelineSettings | None = None) -> None:
        settings = settings or PipelineSettings()
        self._settings = settings.reasoner
        self._refused_before: Counter[str] = Counter()  # by reasoners under earlier knowledge
        self.knowledge = knowledge
        self.graph = LiveGraph(limits=settings.graph)
        self.resolver = Resolver(default_cluster=settings.default_cluster)
        self.assembler = WindowAssembler(self.graph, self.resolver, settings=settings.assembler)
        self.reasoner = Reasoner(knowledge, self.graph, settings.reasoner)

    def restore(self, snapshot: Snapshot, incidents: tuple[Incident, ...]) -> None:
        """Takes over what a store remembers, before the first batch."""
        self.graph.restore(snapshot)
        self.resolver.restore(snapshot)
        self.reasoner.restore(incidents)

    def join(self, snapshot: Snapshot, incidents: tuple[Incident, ...], memory: Memory | None) -> None:
        """Takes over what a store remembers after windows were closed without it: of what is known here, what was seen here stands.

        What is usual is the store's from now on, where it has any: it was learnt for longer. Raises SavedStateError, all else taken over.
        """
        unknown = unknown_to(self.graph, snapshot)
        self.graph.restore(unknown)
        self.resolver.restore(unknown)
        self.reasoner.restore(incidents)
        if memory is not None:
            self.reasoner.resume(memory.belief)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Telemetry and streams not used, by reason."""
        return {**self.assembler.dropped, **(self._refused_before + Counter(self.reasoner.dropped))}

    def know(self, knowledge: CausalKnowledge) -> Diagnosis:
        """Puts other knowledge in force, between two windows: what was seen, learnt and opened stays, and the last diagnosis is made anew under it."""
        reasoner = Reasoner(knowledge, self.graph, self._settings)
        reasoner.restore(self.reasoner.incidents)
        reasoner.resume(self.reasoner.belief())
        self._refused_before += Counter(self.reasoner.dropped)
        self.knowledge, self.reasoner = knowledge, reasoner
        return reasoner.diagnosis

    def memory(self) -> Memory:
        """A copy of what the next windows depend on, beside what `restore` takes."""
        return Memory(self.reasoner.belief(), self.graph.sightings(), self.assembler.memory(), self.resolver.memory())

    def resume(self, memory: Memory) -> None:
        """Goes on where another left off, after `restore`: its last diagnosis stands again. Raises SavedStateError."""
        self.graph.recall(memory.sightings)
        self.reasoner.resume(memory.belief)
        self.resolver.recall(memory.names)
        self.assembler.restore(memory.assembler)

    def add(self, batch: Batch) -> None:
        """Takes a batch; nothing is concluded yet."""
        self.assembler.add(batch)

    def advance(self) -> Iterator[Step]:
        """Closes the windows that the watermark has passed."""
        for closed in self.assembler.close_ready():
            yield self._step(closed)

    def finish(self) -> Iterator[Step]:
        """Closes every window that is open: no more telemetry will come."""
        for closed in self.assembler.close_until(1 << 62):
            yield self._step(closed)

    def gather(self, instant: int) -> int:
        """Closes the windows that end at or before `instant` and returns how many. The diagnosis is not renewed: a replay asks for one now and then."""
        count = 0
        for closed in self.assembler.close_until(instant):
            self.graph.expire(closed.window.end)
            self.reasoner.gather(closed.window)
            count += 1
        return count

    def _step(self, closed: ClosedWindow) -> Step:
        expired = self.graph.expire(closed.window.end)
        diagnosis = self.reasoner.observe(closed.window)
        return Step(closed, expired, diagnosis, self.reasoner.changed_incidents())
