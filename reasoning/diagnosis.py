"""From posteriors to a diagnosis: root causes with what they explain and why, symptoms, and what was ruled out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph.live import LiveGraph
from reasoning.cause_sets import JointExplanations
from reasoning.compile import CompiledNetwork
from reasoning.explanation import EXPLAINS, SHOWS
from reasoning.inference import evidence_weights
from reasoning.network import strongest_paths
from reasoning.solution import Posteriors
from schema.batches import Float64
from schema.knowledge import CausalKnowledge, DefectRule
from schema.verdicts import CauseSet, CauseSets, DefectRef, Diagnosis, Evidence, Finding, Remedy, RootCause, RuledOut, Symptom

SMALLEST_PROBABILITY = 1e-4
MOST_CAUSES = 50
EXPLAINED_IN_FULL = 3
MOST_EVIDENCE = 10


def log_evidence_of(compiled: CompiledNetwork, findings: Sequence[Finding]) -> Float64:
    """Float64[n]: the log-likelihood ratio of each variable's finding, 0 where there is none."""
    evidence = np.zeros(len(compiled.names))
    for finding in findings:
        place = compiled.index.get(finding.condition)
        if place is not None:
            evidence[place] = finding.log_likelihood_ratio
    return evidence


def diagnose(
    at: int,
    compiled: CompiledNetwork,
    findings: Sequence[Finding],
    solved: Posteriors,
    graph: LiveGraph,
    knowledge: CausalKnowledge,
    ruled_out: Sequence[RuledOut],
) -> Diagnosis:
    """The diagnosis at event time `at`. Ties stand in ascending identity."""
    chosen = _likeliest(compiled, solved.probability)
    told = [finding for finding in findings if finding.condition in compiled.index]
    weights = _weights(compiled, told, solved, chosen[:EXPLAINED_IN_FULL])
    shown = [finding for finding in told if finding.log_likelihood_ratio > SHOWS]
    causes = [
        _root_cause(place, float(solved.probability[place]), compiled, shown, weights[rank] if rank < len(weights) else (), graph, knowledge)
        for rank, place in enumerate(chosen)
    ]
    symptoms = [Symptom(finding, float(solved.probability[compiled.index[finding.condition]])) for finding in shown]
    symptoms.sort(key=lambda symptom: (-symptom.probability, symptom.finding.condition))
    return Diagnosis(at, tuple(causes), tuple(symptoms), tuple(ruled_out), solved.exact)


def name_sets(compiled: CompiledNetwork, at: int, found: JointExplanations) -> CauseSets:
    """The likeliest sets of causes by name."""
    named = (CauseSet(tuple(name for place in places if isinstance(name := compiled.names[place], DefectRef)), mass) for places, mass in found.sets)
    return CauseSets(at, tuple(named), found.exact)


def _likeliest(compiled: CompiledNetwork, probability: Float64) -> list[int]:
    """The likeliest defects, most first. Variables stand in ascending identity within a kind of name, so a stable sort breaks ties."""
    places = np.flatnonzero(compiled.is_defect & (probability >= SMALLEST_PROBABILITY))
    ranked = places[np.argsort(-probability[places], kind="stable")]
    return [int(place) for place in ranked[:MOST_CAUSES]]


def _root_cause(
    place: int,
    probability: float,
    compiled: CompiledNetwork,
    shown: Sequence[Finding],
    weights: tuple[Evidence, ...],
    graph: LiveGraph,
    knowledge: CausalKnowledge,
) -> RootCause:
    name = compiled.names[place]
    assert isinstance(name, DefectRef)
    rule: DefectRule = knowledge.kinds[name.entity.kind].defects[name.defect]
    reached = strongest_paths(compiled.network, place)
    explained = [finding for finding in shown if reached[compiled.index[finding.condition]] >= EXPLAINS]
    onsets = [finding.onset for finding in explained if finding.onset is not None]
    remedies = tuple(Remedy(each.action, each.effect, each.risk) for each in rule.remedies)
    return RootCause(
        cause=name,
        summary=rule.summary,
        service=graph.service_of(name.entity),
        probability=probability,
        onset=min(onsets, default=None),
        explains=tuple(sorted(finding.condition for finding in explained)),
        evidence=weights,
        remedies=remedies,
    )


def _weights(compiled: CompiledNetwork, told: Sequence[Finding], solved: Posteriors, causes: Sequence[int]) -> list[tuple[Evidence, ...]]:
    """For each cause, what each finding near it adds to its log-odds: the change when it alone is left out."""
    places = np.array([compiled.index[finding.condition] for finding in told], np.int64)
    weights = evidence_weights(solved, log_evidence_of(compiled, told), np.array(causes, np.int64))
    found = []
    for row, cause in enumerate(causes):
        near = np.flatnonzero(strongest_paths(compiled.network, cause)[places] >= EXPLAINS)
        weighed = [Evidence(told[each], float(weights[row, places[each]])) for each in near.tolist()]
        weighed.sort(key=lambda each: (-abs(each.weight), each.finding.condition))
        found.append(tuple(weighed[:MOST_EVIDENCE]))
    return found
