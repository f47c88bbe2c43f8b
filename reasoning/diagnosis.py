"""From posteriors to a diagnosis: root causes with what they explain and why, symptoms, and what was ruled out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graph.live import LiveGraph
from reasoning.compile import CompiledNetwork
from reasoning.inference import Posteriors, posteriors
from schema.batches import Float64
from schema.knowledge import CausalKnowledge, DefectRule
from schema.verdicts import DefectRef, Diagnosis, Evidence, Finding, Remedy, RootCause, RuledOut, Symptom

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
    ranked = sorted(
        ((-float(solved.probability[place]), name) for name, place in compiled.index.items() if isinstance(name, DefectRef)),
        key=lambda each: (each[0], each[1]),
    )
    chosen = [(name, -negative) for negative, name in ranked[:MOST_CAUSES] if -negative >= SMALLEST_PROBABILITY]
    evidence = log_evidence_of(compiled, findings)
    causes = []
    for place, (name, probability) in enumerate(chosen):
        weights = _weights(compiled, evidence, findings, name, probability) if place < EXPLAINED_IN_FULL else ()
        causes.append(_root_cause(name, probability, compiled, findings, weights, graph, knowledge))
    symptoms = [
        Symptom(finding, float(solved.probability[compiled.index[finding.condition]]))
        for finding in findings
        if finding.log_likelihood_ratio > 1.0 and finding.condition in compiled.index
    ]
    symptoms.sort(key=lambda symptom: (-symptom.probability, symptom.finding.condition))
    return Diagnosis(at, tuple(causes), tuple(symptoms), tuple(ruled_out), solved.exact)


def _root_cause(
    name: DefectRef,
    probability: float,
    compiled: CompiledNetwork,
    findings: Sequence[Finding],
    weights: tuple[Evidence, ...],
    graph: LiveGraph,
    knowledge: CausalKnowledge,
) -> RootCause:
    rule: DefectRule = knowledge.kinds[name.entity.kind].defects[name.defect]
    reached = _reached(compiled, compiled.index[name])
    explained = [finding for finding in findings if finding.log_likelihood_ratio > 1.0 and reached.get(compiled.index.get(finding.condition, -1), 0.0) >= 0.05]
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


def _reached(compiled: CompiledNetwork, variable: int) -> Mapping[int, float]:
    """Variables below a cause with the strength of the strongest path to each."""
    found = {variable: 1.0}
    network = compiled.network
    for child in network.order.tolist():
        for parent, strength in zip(network.parents(child).tolist(), network.strengths(child).tolist(), strict=True):
            if parent in found:
                found[child] = max(found.get(child, 0.0), found[parent] * strength)
    return found


def _weights(compiled: CompiledNetwork, evidence: Float64, findings: Sequence[Finding], name: DefectRef, probability: float) -> tuple[Evidence, ...]:
    """What each finding near the cause adds to its log-odds: the change when it alone is left out."""
    variable = compiled.index[name]
    near = _reached(compiled, variable)
    weighed = []
    for finding in findings:
        place = compiled.index.get(finding.condition, -1)
        if near.get(place, 0.0) < 0.05 or place < 0:
            continue
        without = evidence.copy()
        without[place] = 0.0
        rest = float(posteriors(compiled.network, without).probability[variable])
        weighed.append(Evidence(finding, _log_odds(probability) - _log_odds(rest)))
    weighed.sort(key=lambda each: (-abs(each.weight), each.finding.condition))
    return tuple(weighed[:MOST_EVIDENCE])


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-12), 1.0 - 1e-12)
    return float(np.log(bounded / (1.0 - bounded)))
