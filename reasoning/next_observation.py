"""What to look at next: the condition, not yet seen or missed, whose detector's word would take most doubt from the leading causes.

Doubt is the sum of the entropies of the causes. Its expected loss is the sum of the mutual information of each cause with the
detector's word, which follows from the beliefs with the cause held at 1 and at 0: two solutions a cause serve all conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.compile import CompiledNetwork
from reasoning.inference import posteriors
from reasoning.network import strongest_paths
from reasoning.regions import PlanCache, Region
from reasoning.solution import Posteriors, probabilities
from schema.batches import Float64, Int64
from schema.knowledge import CausalKnowledge
from schema.verdicts import ConditionRef, DefectRef, NextObservation, Verdict

LEADING = 5
WORTH_A_LOOK = 0.01  # the least probability of a leading cause
MOST_CANDIDATES = 48
REACHED = 0.1  # the least strength of a way from a leading cause to a candidate
SMALLEST_GAIN = 0.01  # bits
MOST_OBSERVATIONS = 3
CERTAIN = 1e-12  # no word of a detector is less likely


@dataclass(frozen=True, slots=True)
class _Readings:
    """Of one cause and s conditions: P(cause), and P(a detector shows each | cause holds, does not), Float64[s] each."""

    prior: float
    shown_with: Float64
    shown_without: Float64


def next_observations(
    compiled: CompiledNetwork, log_evidence: Float64, solved: Posteriors, knowledge: CausalKnowledge, plans: PlanCache
) -> tuple[float, tuple[NextObservation, ...]]:
    """The entropy of the leading causes in bits, and what would take most of it, by descending gain. Raises InconsistentEvidenceError."""
    leading = _leading(compiled, solved)
    doubt = float(np.sum(entropy(solved.probability[leading]))) if leading.size else 0.0
    if doubt < SMALLEST_GAIN:
        return doubt, ()
    places = _candidates(compiled, log_evidence, solved, leading, knowledge)
    if not places.size:
        return doubt, ()
    wanted = np.zeros(len(compiled.names), np.bool_)
    wanted[places] = True
    asked = posteriors(compiled.network, log_evidence, wanted=wanted, plans=plans)
    found = list(_judged(compiled, asked, leading, places, knowledge))
    found.sort(key=lambda each: (-each.gain, each.condition))
    return doubt, tuple(each for each in found[:MOST_OBSERVATIONS] if each.gain >= SMALLEST_GAIN)


def entropy(probability: Float64) -> Float64:
    """Of something that holds or not, in bits."""
    p = np.clip(probability, 1e-300, 1.0 - 1e-16)
    return -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))


def _leading(compiled: CompiledNetwork, solved: Posteriors) -> Int64:
    places = np.flatnonzero(compiled.is_defect & (solved.probability >= WORTH_A_LOOK))
    return places[np.argsort(-solved.probability[places], kind="stable")][:LEADING]


def _candidates(compiled: CompiledNetwork, log_evidence: Float64, solved: Posteriors, leading: Int64, knowledge: CausalKnowledge) -> Int64:
    """Conditions with a detector and no finding that the leading causes reach, those first that they reach most differently."""
    reached = np.stack([strongest_paths(compiled.network, cause) for cause in leading.tolist()])
    doubt = solved.probability[leading] * (1.0 - solved.probability[leading])
    # The last row stands for none of them: it reaches nothing.
    weight = np.append(doubt, doubt.max()) + 1e-12
    ways = np.vstack((reached, np.zeros(reached.shape[1])))
    mean = weight @ ways / weight.sum()
    differs = weight @ (ways - mean) ** 2
    open_to_reading = np.flatnonzero((reached.max(axis=0) >= REACHED) & (log_evidence == 0.0) & ~compiled.is_defect)
    ranked = open_to_reading[np.argsort(-differs[open_to_reading], kind="stable")].tolist()
    return np.array([place for place in ranked if _detector(compiled, place, knowledge)][:MOST_CANDIDATES], np.int64)


def _detector(compiled: CompiledNetwork, place: int, knowledge: CausalKnowledge) -> str:
    name = compiled.names[place]
    assert isinstance(name, ConditionRef)
    return knowledge.kinds[name.entity.kind].conditions[name.condition].detector


def _judged(compiled: CompiledNetwork, asked: Posteriors, leading: Int64, places: Int64, knowledge: CausalKnowledge) -> Iterator[NextObservation]:
    for region in asked.parts.regions:
        causes, inside = (each[np.isin(each, region.variables)] for each in (leading, places))
        if causes.size and inside.size:
            rules = [_rule(compiled, place, knowledge) for place in inside.tolist()]
            readings = [_readings(region, cause, inside, rules) for cause in causes.tolist()]
            yield from (_observation(compiled, place, column, causes, readings) for column, place in enumerate(inside.tolist()))


def _rule(compiled: CompiledNetwork, place: int, knowledge: CausalKnowledge) -> tuple[float, float]:
    """P(the detector shows the condition | it does not hold, it holds)."""
    name = compiled.names[place]
    assert isinstance(name, ConditionRef)
    rule = knowledge.kinds[name.entity.kind].conditions[name.condition]
    return rule.false_positive, 1.0 - rule.false_negative


def _readings(region: Region, cause: int, inside: Int64, rules: Sequence[tuple[float, float]]) -> _Readings:
    place, columns = int(np.searchsorted(region.variables, cause)), np.searchsorted(region.variables, inside)
    false_alarm, hit = np.array(rules).T
    shown = []
    for value in (np.inf, -np.inf):
        evidence = region.log_evidence.copy()
        evidence[place] = value
        holds = probabilities(region.log_odds(evidence)[columns])
        shown.append(hit * holds + false_alarm * (1.0 - holds))
    return _Readings(float(probabilities(region.log_odds()[place : place + 1])[0]), shown[0], shown[1])


def _observation(compiled: CompiledNetwork, place: int, column: int, causes: Int64, readings: Sequence[_Readings]) -> NextObservation:
    prior = np.array([each.prior for each in readings])
    with_it, without = (np.array([each[column] for each in shown]) for shown in zip(*((r.shown_with, r.shown_without) for r in readings), strict=True))
    shown = np.clip(prior * with_it + (1.0 - prior) * without, CERTAIN, 1.0 - CERTAIN)
    gain = entropy(shown) - prior * entropy(with_it) - (1.0 - prior) * entropy(without)
    if_shown, if_not = prior * with_it / shown, prior * (1.0 - with_it) / (1.0 - shown)
    name = compiled.names[place]
    assert isinstance(name, ConditionRef)
    return NextObservation(name, float(gain.sum()), float(shown.mean()), *(_likeliest(compiled, causes, each) for each in (if_shown, if_not)))


def _likeliest(compiled: CompiledNetwork, causes: Int64, probability: Float64) -> Verdict:
    first = int(np.argmax(probability))
    name = compiled.names[int(causes[first])]
    assert isinstance(name, DefectRef)
    return Verdict(name, float(probability[first]))
