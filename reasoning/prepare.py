"""Compiles the machine code of the reasoning once, so that no incident waits for it: `python -m reasoning.prepare`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from graph.live import LiveGraph
from reasoning.belief import BeliefState
from reasoning.core_solver import BeliefSettings
from reasoning.cycles import feedback_links
from reasoning.elimination import EliminationPlan, draw, plan_factors
from reasoning.evidence.engine import EvidenceEngine
from reasoning.inference import posteriors
from reasoning.monte_carlo import blast_radius
from reasoning.native import compiling
from reasoning.network import CausalNetwork, FeedbackLinks, network_of, strongest_paths
from reasoning.regions import PlanCache
from reasoning.sharding.runner import ShardRunner
from schema.batches import Float64, Int32
from schema.identity import EntityRef
from schema.loader import load_knowledge
from schema.windows import DURATION_BINS, BehaviourTable, CallTable, LogTable, RequestTable, SampleTable, TelemetryWindow

WINDOW = 5_000_000_000
WINDOWS = 12


def prepare(tell: Callable[[str], None]) -> None:
    """Runs every compiled function once; `tell` hears what comes next. From an empty cache seconds, else a fraction of one.

    Raises NativeCodeError where this machine compiles nothing.
    """
    for step, run in _steps():
        tell(step)
        with compiling():
            run()


def _steps() -> Iterator[tuple[str, Callable[[], object]]]:
    yield "the detectors", _first_windows
    network, evidence = _small_estate()
    ring = np.array([0, 1], np.int32)
    yield "the causal network", lambda: (feedback_links(2, ring, ring[::-1].copy(), np.array([0.5, 0.4])), strongest_paths(network, 0))
    yield "belief propagation", lambda: _first_beliefs(network, evidence)
    yield "shards", lambda: _first_shards(network, evidence)
    yield "exact elimination", lambda: posteriors(network, evidence)
    yield "feedback", lambda: posteriors(replace(network, feedback=_way_back()), evidence)
    random = np.random.default_rng(1)
    yield "sampled worlds", lambda: (blast_radius(network, 0, random), draw(_one_variable(), np.array([0.5, 0.5]), 1, random))


def _first_beliefs(network: CausalNetwork, evidence: Float64) -> None:
    """What is cut, what is not, and each way in which a network may change."""
    pieces = BeliefState(network, evidence, BeliefSettings(influence=1e-9, most_uncut=0), PlanCache(widest=0))
    pieces.regions_with(network.parent, network.effect)
    state = BeliefState(network, evidence)
    names = np.arange(len(network), dtype=np.int32)
    state.follow(replace(network, strength=network.strength * 0.5, leak=network.leak * 0.5), -evidence, names)
    state.settle()
    state.follow(network_of(network.leak, network.parent[1:], network.effect[1:], network.strength[1:], network.cluster, network.is_defect), evidence, names)
    state.settle()
    state.connect(network.parent[:1], network.effect[:1], network.strength[:1])
    state.settle()
    _ = state.memory(), state.unsettled


def _first_shards(network: CausalNetwork, evidence: Float64) -> None:
    """Two of them, which find rest and are told something new."""
    state = BeliefState(network, evidence, propagation=ShardRunner(2, BeliefSettings().tolerance))
    state.follow(network, -evidence, np.arange(len(network), dtype=np.int32))
    state.settle()


def _first_windows() -> None:
    """A service, its database and a sample, for as many windows as a baseline takes to judge."""
    knowledge, graph = load_knowledge(), LiveGraph()
    service, database = (graph.intern(EntityRef(kind, "", "", "first")) for kind in ("service", "database"))
    engine = EvidenceEngine(knowledge, graph)
    for number in range(1, WINDOWS + 1):
        engine.observe(_window(number, np.array([service, database], np.int32)))


def _window(number: int, entities: Int32) -> TelemetryWindow:
    one, counts, bins = entities[:1], np.full(2, 50), np.zeros((2, DURATION_BINS), np.int32)
    bins[:, number % 8] = 50
    requests = RequestTable(entities, counts, counts // 10, counts // 10, counts, counts, bins, bins, np.array([True, False]))
    nothing, first = np.zeros(1, np.int32), counts[:1]
    calls = CallTable(("queries",), one, nothing, entities[1:], first, first, first, first, first, first, first, first, first, first, first, bins[:1], bins[:1])
    shares = np.array([0.5])
    shares.setflags(write=False)
    behaviour = BehaviourTable(("go", "logged"), one, nothing - 1, nothing, nothing + 1, np.array([False]), nothing - 1, shares, shares * 100.0)
    samples = SampleTable(("worker_use_share",), one, nothing, first, shares, shares, shares)
    logs = LogTable((), one[:0], one[:0], np.zeros(0, np.bool_), counts[:0])
    return TelemetryWindow((number - 1) * WINDOW, number * WINDOW, requests, calls, behaviour, samples, logs, ())


def _small_estate() -> tuple[CausalNetwork, Float64]:
    """Three causes of one effect, which causes another: large and small families, evidence for and against."""
    cause, effect = np.array([0, 1, 2, 3], np.int32), np.array([3, 3, 3, 4], np.int32)
    cluster, is_defect = np.arange(5, dtype=np.int32), np.array([True, True, True, False, False])
    network = network_of(np.full(5, 0.01), cause, effect, np.full(4, 0.5), cluster, is_defect)
    return network, np.array([0.0, 0.0, 0.0, 2.0, -1.0])


def _one_variable() -> EliminationPlan:
    plan = plan_factors(1, [(0,)], 1, 2)
    assert plan is not None
    return plan


def _way_back() -> FeedbackLinks:
    """From the last effect of the small estate to its cause."""
    return FeedbackLinks(np.array([4], np.int32), np.array([3], np.int32), np.array([0.2]))


if __name__ == "__main__":
    prepare(lambda step: print(f"Preparing {step}.", file=sys.stderr))  # noqa: T201 - a command of its own
