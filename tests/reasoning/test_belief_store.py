"""Belief survives its process: one that is saved and resumed believes, window by window, what the uninterrupted one does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.live import LiveGraph
from graph.saved_state import SavedStateError, pack, unpack
from graph.sightings import sightings_arrays, sightings_of
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from ingest.observations import topology_delta
from ingest.samples import sample_table
from ingest.tables import WindowCounts, behaviour_table, call_table, log_table, request_table
from reasoning.belief_store import belief_arrays, belief_of
from reasoning.reasoner import Reasoner, ReasonerSettings
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import Diagnosis, Incident
from schema.windows import Change, ChangeKind, TelemetryWindow
from tests.reasoning.test_evidence_engine import BACK, FRONT, PODS, WINDOW, Fill, shop

ILLS: dict[str, Fill] = {
    "none": shop(),
    "slow query": shop(query=60.0),
    "slow code": shop(own=40.0),
    "slow wire": shop(wire=80.0),
    "failing": shop(failing=0.4),
    "lost": shop(lost=0.3),
    "silent pod": shop(silent_pod=True),
    "busy": shop(demand=90),
}


class Process:
    """A graph and a reasoner. Of its windows, number and ill decide the content."""

    def __init__(self, knowledge: CausalKnowledge, settings: ReasonerSettings | None = None) -> None:
        self.knowledge = knowledge
        self.settings = settings
        self.graph = LiveGraph()
        self.reasoner = Reasoner(knowledge, self.graph, settings)
        self.stored: dict[str, Incident] = {}

    def live(self, number: int, ill: str) -> Diagnosis:
        end = number * WINDOW
        counts, chance = WindowCounts(), random.Random(number)
        ILLS[ill](counts, chance)
        counts.samples = {(pod, "cpu_limit_use_share"): [0.9 if ill == "slow code" else 0.3 + 0.02 * chance.random()] for pod in PODS}
        operation = (BACK, "front GET /", "GET /items")
        counts.trials[operation] = 40.0
        counts.shown[*operation, "log sold out" if ill == "failing" else "log sold", 1] = 39.0
        keys = [RelationKey(BACK, "runs_on", pod) for pod in PODS]
        seen = tuple(RelationObservation(key, "otlp.metrics", end, 0.99) for key in keys)
        labels = {"service.version": "2" if ill == "slow code" else "1"}
        self.graph.apply(TopologyDelta(end, (EntityObservation(BACK, "otlp.resource", end, labels),), seen))
        self.graph.apply(topology_delta(end, (), counts))
        self.graph.expire(end)
        intern = self.graph.intern
        changes = (Change(end - WINDOW, intern(BACK), ChangeKind.DEPLOY, "1 -> 2"),) if number % 37 == 0 else ()
        tables = (request_table(counts, intern), call_table(counts, intern), behaviour_table(counts, intern), sample_table(counts, intern))
        found = self.reasoner.observe(TelemetryWindow(end - WINDOW, end, *tables, log_table(counts, intern), changes))
        self.stored |= {incident.id: incident for incident in self.reasoner.changed_incidents()}
        return found

    def saved(self) -> bytes:
        return pack({"belief": belief_arrays(self.reasoner.belief()), "graph": sightings_arrays(self.graph.sightings())})

    def restarted(self) -> Process:
        """What a store gives back, in a fresh process whose integers differ."""
        sections, other = unpack(self.saved()), Process(self.knowledge, self.settings)
        other.graph.intern(EntityRef("service", "", "", "a stranger"))
        other.graph.restore(self.graph.snapshot())
        other.graph.recall(sightings_of(sections["graph"]))
        other.stored = dict(self.stored)
        other.reasoner.restore(tuple(self.stored.values()))
        other.reasoner.resume(belief_of(sections["belief"]))
        return other


@pytest.fixture(scope="module")
def knowledge() -> CausalKnowledge:
    return load_knowledge()


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_process_that_stopped_goes_on_as_if_it_had_not(data: st.DataObject, knowledge: CausalKnowledge) -> None:
    ill = data.draw(st.sampled_from(sorted(ILLS)))
    first, length = data.draw(st.integers(45, 75)), data.draw(st.integers(1, 30))
    stop = data.draw(st.integers(1, 100))
    whole, halves = Process(knowledge), Process(knowledge)
    for number in range(1, stop + 1):
        then = ill if first <= number < first + length else "none"
        whole.live(number, then)
        halves.live(number, then)
    halves = halves.restarted()
    assert repr(halves.reasoner.diagnosis) == repr(whole.reasoner.diagnosis)
    assert halves.reasoner.incidents == whole.reasoner.incidents
    for number in range(stop + 1, 106):
        then = ill if first <= number < first + length else "none"
        assert repr(halves.live(number, then)) == repr(whole.live(number, then))
        assert halves.reasoner.incidents == whole.reasoner.incidents


@pytest.fixture(scope="module")
def ill(knowledge: CausalKnowledge) -> Process:
    process = Process(knowledge)
    for number in range(1, 70):
        process.live(number, "slow query" if number >= 60 else "none")
    assert process.reasoner.incidents
    return process


def test_a_belief_saved_twice_is_the_same_bytes(ill: Process) -> None:
    saved = unpack(ill.saved())["belief"]
    again = unpack(ill.restarted().saved())["belief"]
    assert {name: array.tobytes() for name, array in again.items()} == {name: array.tobytes() for name, array in saved.items()}


def test_what_the_graph_forgot_is_not_saved(ill: Process) -> None:
    belief = ill.reasoner.belief()
    gone = belief.numbered(lambda ref: -1 if ref == FRONT else 0)
    assert FRONT not in gone.identities
    assert all(len(gone.evidence.streams[name].keys) < len(table.keys) for name, table in belief.evidence.streams.items() if name in {"coins", "durations"})


def test_a_belief_under_other_rules_keeps_what_they_look_at(ill: Process, knowledge: CausalKnowledge) -> None:
    fewer = CausalKnowledge("fewer", {"service": knowledge.kinds["service"]}, (), ())
    other = Reasoner(fewer, LiveGraph())
    diagnosis = other.resume(belief_of(unpack(ill.saved())["belief"]))
    assert diagnosis.at == 69 * WINDOW
    levels = other.belief().evidence.streams["levels"]
    assert not any(key[1] == "cpu_limit_use_share" for key in levels.keys if isinstance(key, tuple))


@pytest.mark.parametrize("part", ["at", "identities", "coins.keys", "relations.sums", "changes", "likely"])
def test_a_belief_with_a_part_missing_or_malformed_is_refused(part: str, ill: Process) -> None:
    arrays = unpack(ill.saved())["belief"]
    with pytest.raises(SavedStateError, match="does not read"):
        belief_of({name: array for name, array in arrays.items() if name != part})
    with pytest.raises(SavedStateError):
        belief_of({**arrays, part: np.zeros((2, 1), np.float64)[:0]})
