"""The reasoner: windows in, diagnoses and incidents out. The one owner of what is believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from graph.live import LiveGraph
from reasoning.belief import BeliefState
from reasoning.belief_memory import BeliefMemory
from reasoning.belief_store import Belief
from reasoning.cause_sets import likeliest_sets
from reasoning.compile import HOUR, CompiledNetwork, NetworkCompiler, naming
from reasoning.constraints import forbidden_links
from reasoning.core_solver import BeliefSettings
from reasoning.diagnosis import diagnose, log_evidence_of, name_sets
from reasoning.errors import ReasoningError, UnknownVariableError
from reasoning.evidence.engine import EvidenceEngine
from reasoning.evidence.rules import EvidenceSettings
from reasoning.evidence.state import EvidenceState
from reasoning.explanation import explain
from reasoning.export import NamedNetwork, named_network
from reasoning.incident_context import changes_before, impacts_of
from reasoning.incidents import IncidentSettings, IncidentTracker
from reasoning.intervention import impact, what_if
from reasoning.network import CausalNetwork
from reasoning.next_observation import next_observations
from reasoning.regions import PlanCache
from reasoning.sharding.runner import ShardRunner
from reasoning.solution import Posteriors
from schema.batches import Float64, Int32
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.verdicts import (
    CauseSets,
    ConditionRef,
    DefectRef,
    Diagnosis,
    Effect,
    EntityChange,
    Explanation,
    Impact,
    Incident,
    Intervention,
    RootCause,
    RuledOut,
    WhatIf,
)
from schema.windows import Change, TelemetryWindow

SEED = 1  # the same question gets the same answer


@dataclass(frozen=True, slots=True)
class ReasonerSettings:
    """How evidence is weighed and incidents are followed; `shards`: among how many parts of the estate belief is propagated."""

    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    incidents: IncidentSettings = field(default_factory=IncidentSettings)
    changes: int = 10_000
    shards: int = 1


class Reasoner:
    """`observe` each window in order; ask for the rest at any time.

    unsettled: the entities, ascending, of which propagation found no rest: what is believed there may depend on the way to it.
    """

    def __init__(self, knowledge: CausalKnowledge, graph: LiveGraph, settings: ReasonerSettings | None = None) -> None:
        self._settings = settings or ReasonerSettings()
        self._knowledge = knowledge
        self._graph = graph
        self._evidence = EvidenceEngine(knowledge, graph, self._settings.evidence)
        self._tracker = IncidentTracker(self._settings.incidents)
        self._changes: deque[Change] = deque(maxlen=self._settings.changes)
        self._state = EvidenceState(0, (), {})
        self._compiler = NetworkCompiler(knowledge, graph)
        self._plans = PlanCache()
        self._compiled: CompiledNetwork | None = None
        self._beliefs: BeliefState | None = None
        self._followed: CompiledNetwork | None = None  # what the beliefs are of
        self._ruled_out: tuple[RuledOut, ...] = ()
        self._trouble = ""
        self._solved: Posteriors | None = None
        self._changed: tuple[Incident, ...] = ()
        self.diagnosis = Diagnosis(0, (), (), (), exact=True)
        self.unsettled: tuple[EntityRef, ...] = ()

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """Open incidents, newest first."""
        return self._tracker.open

    @property
    def dropped(self) -> Mapping[str, int]:
        """Streams not opened, by reason."""
        return self._evidence.dropped

    def restore(self, incidents: Sequence[Incident]) -> None:
        """Takes over open incidents at start."""
        self._tracker.restore(incidents)

    def belief(self) -> Belief:
        """A copy of all that the next verdict depends on, beside the graph and the open incidents."""
        messages = None if self._beliefs is None else self._beliefs.memory()
        return Belief(self._state.at, self._graph.identities(), self._evidence.memory(), tuple(self._recent_changes()), self._tracker.state(), messages)

    def resume(self, belief: Belief) -> Diagnosis:
        """Goes on where another left off, after `restore`, on the same graph: its last diagnosis stands again. Raises SavedStateError."""
        belief = belief.numbered(self._graph.intern)
        self._evidence.restore(belief.evidence)
        self._changes.extend(belief.changes)
        self._tracker.resume(belief.incidents)
        self._state = self._evidence.conclude(belief.at)
        self._beliefs = self._followed = None
        self._follow(belief.state)
        return self._renew()

    def changed_incidents(self) -> tuple[Incident, ...]:
        """The incidents that the last window changed."""
        return self._changed

    def gather(self, window: TelemetryWindow) -> None:
        """Takes a window's evidence and lets belief follow. Without a diagnosis: a replay asks for one only now and then."""
        if window.end <= self._state.at:
            # Time was turned back: what is known is of times that are still to come.
            self._evidence = EvidenceEngine(self._knowledge, self._graph, self._settings.evidence)
            self._changes.clear()
            self._beliefs = self._followed = None
        self._changes.extend(window.changes)
        self._state = self._evidence.observe(window)
        self._follow()

    def observe(self, window: TelemetryWindow) -> Diagnosis:
        """The diagnosis as of the window's end. If none can be made, the last one is kept and says why it is stale."""
        self.gather(window)
        return self.conclude()

    def conclude(self) -> Diagnosis:
        """Renews the diagnosis from the evidence gathered. One that could not be renewed opens and closes no incident."""
        diagnosis = self._renew()
        self._changed = () if diagnosis.stale else self._tracker.follow(diagnosis, self)
        return diagnosis

    def impact(self, of: DefectRef | ConditionRef) -> Impact:
        """What a defect or condition takes down. Raises UnknownVariableError."""
        return impact(self._network(), of, np.random.default_rng(SEED))

    def impacts(self, cause: DefectRef) -> tuple[Effect, ...]:
        """What an incident's cause takes down most; empty where that can't be said."""
        try:
            return impacts_of(self.impact(cause))
        except ReasoningError:
            return ()

    def changes_before(self, at: int, cause: RootCause) -> tuple[EntityChange, ...]:
        """What was changed in the hour before `at`, of what an incident of this cause is about."""
        return changes_before(at, cause, self._changes, self._graph)

    def what_if(self, interventions: Sequence[Intervention]) -> WhatIf:
        """The estate under interventions. Raises UnknownVariableError."""
        compiled = self._network()
        with naming(compiled):
            return what_if(compiled, self._log_evidence(compiled), tuple(interventions), np.random.default_rng(SEED))

    def explanation(self, first: int = 3) -> Explanation:
        """Why the latest diagnosis is what it is: of its `first` root causes. Nothing while no evidence stands concluded. Raises ReasoningError."""
        if self._solved is None:
            return Explanation(self.diagnosis.at, (), 0.0, ())
        compiled, solved, findings = self._network(), self._solved, self._state.findings
        causes = [compiled.index[each.cause] for each in self.diagnosis.root_causes[:first]]
        with naming(compiled):
            explained = explain(compiled, findings, solved, causes, self._graph, self._knowledge)
            entropy, would_tell = next_observations(compiled, self._log_evidence(compiled), solved, self._knowledge, self._plans)
        return Explanation(self.diagnosis.at, explained, entropy, would_tell, solved.exact)

    def cause_sets(self, first: int = 5) -> CauseSets:
        """The likeliest joint explanations of what the latest diagnosis saw. Nothing while no evidence stands concluded. Raises ReasoningError."""
        if self._solved is None:
            return CauseSets(self.diagnosis.at, ())
        compiled = self._network()
        with naming(compiled):
            return name_sets(compiled, self.diagnosis.at, likeliest_sets(self._solved, compiled.is_defect, first))

    def named_network(self, root: EntityRef | None = None, depth: int = 1) -> NamedNetwork:
        """The network within `depth` relations of an entity, or the whole, with what was found. Raises UnknownVariableError."""
        inside = None if root is None else {entity.ref for entity in self._graph.neighbourhood(root, depth).entities}
        if inside is not None and not inside:
            raise UnknownVariableError(f"There is no entity {root}.")
        return named_network(self._state.at, self._network(), self._state.findings, inside)

    def _follow(self, recalled: BeliefMemory | None = None) -> None:
        """Lets belief follow the evidence. What can't be believed is kept for `conclude` to tell, and leaves the way to the next window open."""
        self._compiled = self._solved = None
        self._trouble = ""
        try:
            compiled = self._network()
            forbidden, self._ruled_out = forbidden_links(compiled, self._state.findings)
            compiled = self._compiled = compiled.without(forbidden)
            with naming(compiled):
                self._believe(compiled, recalled)
        except ReasoningError as trouble:
            self._trouble = f"{trouble}"

    def _believe(self, compiled: CompiledNetwork, recalled: BeliefMemory | None) -> None:
        log_evidence = self._log_evidence(compiled)
        if self._beliefs is None or self._followed is None:
            self._beliefs = BeliefState(compiled.network, log_evidence, plans=self._plans, memory=recalled, propagation=self._shards())
            self._followed = compiled
        else:
            self._beliefs.follow(compiled.network, log_evidence, compiled.carried_from(self._followed))
            self._followed = compiled
            self._beliefs.settle()
        entities = compiled.entity[np.unique(compiled.cluster[self._beliefs.unsettled])]
        self.unsettled = tuple(sorted(map(self._graph.ref, entities.tolist())))

    def _shards(self) -> ShardRunner | None:
        return ShardRunner(self._settings.shards, BeliefSettings().tolerance, self._services) if self._settings.shards > 1 else None

    def _services(self, network: CausalNetwork) -> Int32:
        """The service that each variable's entity belongs to, or else the entity: what shares a shard."""
        entity = self._network().entity
        refs = (self._graph.ref(each) for each in entity.tolist())
        service = [self._graph.intern(self._graph.service_of(ref) or ref) for ref in refs]
        return np.array(service, np.int32)[network.cluster]

    def _renew(self) -> Diagnosis:
        try:
            self.diagnosis = self._diagnose()
        except ReasoningError as trouble:
            self.diagnosis = replace(self.diagnosis, stale=f"{trouble}")
        return self.diagnosis

    def _diagnose(self) -> Diagnosis:
        if self._trouble or self._beliefs is None:
            return replace(self.diagnosis, stale=self._trouble)
        compiled = self._network()
        solved = self._solved = self._beliefs.posteriors()
        with naming(compiled):
            return diagnose(self._state.at, compiled, self._state.findings, solved, self._graph, self._knowledge, self._ruled_out)

    def _network(self) -> CompiledNetwork:
        if self._compiled is None:
            self._compiled = self._compiler.compile(self._state.live, self._recent_changes(), self._state.quiet)
        return self._compiled

    def _recent_changes(self) -> list[Change]:
        return [change for change in self._changes if change.time > self._state.at - HOUR]

    def _log_evidence(self, compiled: CompiledNetwork) -> Float64:
        return log_evidence_of(compiled, self._state.findings) if self._state.findings else np.zeros(len(compiled.names))
