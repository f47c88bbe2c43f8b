"""Users' rules and overrides count on shards as they do in one process, from the start and when they come later."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graph.live import LiveGraph
from graph.topology import EntityObservation, RelationObservation, TopologyDelta
from reasoning.belief import BeliefState
from reasoning.compile import CompiledNetwork, compile_network
from reasoning.core_solver import BeliefSettings
from reasoning.diagnosis import diagnose, log_evidence_of
from reasoning.sharding.runner import ShardRunner
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import DefectRef, Diagnosis, Finding
from tests.reasoning.estates import START, calls, slow

SERVICES = tuple(EntityRef("service", "c", ("shop", "pay")[each % 2], f"service-{each:02}") for each in range(24))
DATABASES = tuple(EntityRef("database", "c", "shop", f"database-{each}") for each in range(4))
SELECTORS = {
    "service": ("{kind: service}", '{kind: service, name: "service-0*"}', "{kind: service, namespace: pay}", "{kind: service, labels: {tier: gold}}"),
    "database": ("{kind: database}", "{kind: database, name: database-1}", "{kind: database, labels: {tier: gold}}"),
}
PRIORS = st.sampled_from(("0.00001", "0.001", "0.02", "0.2"))
STRENGTHS = st.sampled_from((0.05, 0.4, 0.95))
CUT_OFTEN = BeliefSettings(tolerance=1e-5, influence=1e-3, most_uncut=0)  # so that what shards say to each other counts
REACH = 3e-3  # of a root at this influence


@st.composite
def overlays(draw: st.DrawFn) -> tuple[dict[str, str], str]:
    """Rules laid over two kinds, and an overrides.yaml for some entities of one."""
    kind, defect = draw(st.sampled_from((("service", "slow_code"), ("service", "code_regression"), ("database", "slow_query"))))
    contention = draw(
        st.sampled_from(("null", "{prior_per_hour: 0.05}", f"{{causes: {{lock_waits_high: {draw(STRENGTHS)}, latency_high: {draw(STRENGTHS)}}}}}"))
    )
    rules = {
        "service.yaml": f"kind: service\ndefects:\n  slow_code: {{prior_per_hour: {draw(PRIORS)}}}\n",
        "database.yaml": f"kind: database\ndefects:\n  slow_query: {{prior_per_hour: {draw(PRIORS)}}}\n  lock_contention: {contention}\n",
    }
    return rules, f"overrides:\n  - {{select: {draw(st.sampled_from(SELECTORS[kind]))}, prior_per_hour: {{{defect}: {draw(PRIORS)}}}}}\n"


@given(laid=overlays(), seed=st.integers(0, 1_000), shards=st.integers(2, 6))
@settings(max_examples=25)
def test_shards_diagnose_as_one_process_does_under_a_users_knowledge(laid: tuple[dict[str, str], str], seed: int, shards: int) -> None:
    """First the rules alone, then with overrides: priors that change while belief goes on."""
    rules, overrides = laid
    random = np.random.default_rng(seed)
    graph = _estate(random)
    findings = _findings(random)
    knowledge = (_loaded(rules), _loaded(rules | {"overrides.yaml": overrides}))
    compiled = [compile_network(each, graph, {}) for each in knowledge]
    evidence = log_evidence_of(compiled[0], findings)
    alone = BeliefState(compiled[0].network, evidence, CUT_OFTEN)
    many = BeliefState(compiled[0].network, evidence, CUT_OFTEN, propagation=ShardRunner(shards, CUT_OFTEN.tolerance))
    for step in range(2):
        if step:
            for state in (alone, many):
                state.follow(compiled[1].network, evidence, np.arange(len(compiled[1].names), dtype=np.int32))
                state.settle()
        assume(not alone.unsettled.size and not many.unsettled.size)  # what found no rest is named instead
        said, other = (_diagnosis(state, compiled[step], findings, graph, knowledge[step]) for state in (alone, many))
        assert said.root_causes
        expected, found = ({cause.cause: cause.probability for cause in each.root_causes} for each in (said, other))
        _assert_alike(expected, found)
        assert {symptom.finding for symptom in other.symptoms} == {symptom.finding for symptom in said.symptoms}


def _estate(random: np.random.Generator) -> LiveGraph:
    """Services call up to two that stand behind them, and some of them a database."""
    behind = {at: random.choice(np.arange(at + 1, len(SERVICES)), min(2, len(SERVICES) - at - 1), replace=False) for at in range(len(SERVICES) - 1)}
    keys = [calls(SERVICES[at], SERVICES[callee]) for at, callees in behind.items() for callee in callees]
    keys += [calls(service, DATABASES[random.integers(len(DATABASES))]) for service in SERVICES[::2]]
    seen = tuple(EntityObservation(each, "test", START, {"tier": "gold"} if random.random() < 0.3 else {}) for each in (*SERVICES, *DATABASES))
    graph = LiveGraph()
    graph.apply(TopologyDelta(START, seen, tuple(RelationObservation(key, "test", START, 1.0) for key in keys)))
    return graph


def _findings(random: np.random.Generator) -> Sequence[Finding]:
    """A sixth of the estate is slow, of most others it is known that they are not."""
    ratios = random.choice([4.0, *[-2.0] * 5], len(SERVICES) + len(DATABASES))
    return [slow(entity, float(ratio)) for entity, ratio in zip((*SERVICES, *DATABASES), ratios, strict=True) if random.random() < 0.8]


def _loaded(files: dict[str, str]) -> CausalKnowledge:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        return load_knowledge(Path(folder))


def _diagnosis(state: BeliefState, compiled: CompiledNetwork, findings: Sequence[Finding], graph: LiveGraph, knowledge: CausalKnowledge) -> Diagnosis:
    return diagnose(START, compiled, findings, state.posteriors(), graph, knowledge, ())


def _assert_alike(expected: dict[DefectRef, float], found: dict[DefectRef, float]) -> None:
    """Those just above the least probability that is told may be missing in one, those that come fiftieth too."""
    for cause in expected.keys() & found.keys():
        assert found[cause] == pytest.approx(expected[cause], abs=REACH)
    least = max(min(expected.values()), min(found.values()))
    for cause in expected.keys() ^ found.keys():
        assert max(expected.get(cause, 0.0), found.get(cause, 0.0)) <= least + REACH
