"""Runs the worked examples that stand inside the rule files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph.live import LiveGraph
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from reasoning.compile import CompiledNetwork, compile_network
from reasoning.inference import posteriors
from reasoning.intervention import forced_probabilities
from reasoning.layout import Name
from schema.batches import Float64
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, WorkedExample
from schema.verdicts import ConditionRef, DefectRef

WOULD_SHOW = 0.3
WELL_BEHIND = 0.5


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """`detail` says what was found, and where it fails, what was wanted."""

    passed: bool
    detail: str


def run_example(knowledge: CausalKnowledge, example: WorkedExample) -> ExampleResult:
    """Builds the example's estate and asks the question it asks."""
    compiled = _compiled(knowledge, example)
    try:
        return _symptoms(compiled, example) if example.causes else _ranking(compiled, example)
    except KeyError as missing:
        return ExampleResult(False, f"{example.location}: {missing.args[0]} is no condition or defect of the example's entities.")


def _compiled(knowledge: CausalKnowledge, example: WorkedExample) -> CompiledNetwork:
    graph = LiveGraph()
    keys = [RelationKey(EntityRef.parse(source), kind, EntityRef.parse(target)) for source, kind, target in example.relations]
    entities = tuple(EntityObservation(EntityRef.parse(text), "example", 1, {}) for text in example.entities)
    graph.apply(TopologyDelta(1, entities, tuple(RelationObservation(key, "example", 1, 1.0) for key in keys)))
    return compile_network(knowledge, graph, dict.fromkeys(keys, example.live))


def _symptoms(compiled: CompiledNetwork, example: WorkedExample) -> ExampleResult:
    forced = {compiled.index[_named(compiled, text)]: True for text in example.causes}
    found = forced_probabilities(compiled.network, forced)
    told = []
    passed = True
    for text, wanted in example.symptoms.items():
        probability = float(found[compiled.index[_named(compiled, text)]])
        passed &= probability >= wanted
        told.append(f"{text} {probability:.2f} (wanted {wanted:.2f})")
    return ExampleResult(passed, "; ".join(told))


def _ranking(compiled: CompiledNetwork, example: WorkedExample) -> ExampleResult:
    evidence = np.zeros(len(compiled.names))
    for text, ratio in example.findings.items():
        evidence[compiled.index[_named(compiled, text)]] = ratio
    found = posteriors(compiled.network, evidence).probability
    ranked = sorted(((-float(found[place]), _text(name)) for name, place in compiled.index.items() if isinstance(name, DefectRef)))
    first = ranked[0][1] if ranked else "nothing"
    told = ", ".join(f"{text} {-probability:.2f}" for probability, text in ranked[:3])
    if first != example.first or not example.unlike:
        return ExampleResult(first == example.first, f"{told} (wanted {example.first} first)")
    return _unlike(compiled, example, found, told)


def _unlike(compiled: CompiledNetwork, example: WorkedExample, found: Float64, told: str) -> ExampleResult:
    """Whether what looks like the cause would show one of the symptoms, and is well behind all the same."""
    rival = compiled.index[_named(compiled, example.unlike)]
    alone = forced_probabilities(compiled.network, {rival: True})
    if not any(ratio > 0 and alone[compiled.index[_named(compiled, text)]] >= WOULD_SHOW for text, ratio in example.findings.items()):
        return ExampleResult(False, f"{told}; {example.unlike} would show nothing of what was found (wanted one that does)")
    first = float(found[compiled.index[_named(compiled, example.first)]])
    behind = float(found[rival])
    return ExampleResult(behind < WELL_BEHIND * first, f"{told}; {example.unlike} {behind:.2f} (wanted less than half of the first)")


def _named(compiled: CompiledNetwork, text: str) -> Name:
    entity, _, name = text.rpartition(".")
    ref = EntityRef.parse(entity)
    for candidate in (ConditionRef(ref, name), DefectRef(ref, name)):
        if candidate in compiled.index:
            return candidate
    raise KeyError(text)


def _text(name: DefectRef) -> str:
    return f"{name.entity}.{name.defect}"
