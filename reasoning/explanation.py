"""Why a root cause is believed: an account of its log-odds that adds up, the ways it takes to the symptoms, and what keeps the others behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graph.live import LiveGraph
from reasoning.compile import CompiledNetwork
from reasoning.network import CausalNetwork, strongest_paths
from reasoning.regions import Region
from reasoning.solution import Posteriors
from schema.batches import Float64
from schema.knowledge import CausalKnowledge, Toward
from schema.verdicts import Account, CausalPath, CauseExplanation, ConditionRef, DefectRef, Finding, Hop, Step

EXPLAINS = 0.05  # the least strength of a path along which a cause explains a symptom
SHOWS = 1.0  # the log-likelihood ratio from which a finding is a symptom
MOST_STEPS = 10
TELLING = 0.1  # of a log-odds; smaller changes are summed up
MOST_PATHS = 10
FEWEST_SOLVED, MOST_SOLVED, MOST_CELLS = 8, 48, 2_000_000  # findings taken one by one, and the cells of all their tables together
LARGEST_LOG_ODDS = 700.0


def explain(
    compiled: CompiledNetwork, findings: Sequence[Finding], solved: Posteriors, causes: Sequence[int], graph: LiveGraph, knowledge: CausalKnowledge
) -> tuple[CauseExplanation, ...]:
    """Explanations of some defects, given as variables in descending probability. `findings`: those that `solved` was solved under."""
    told = {place: finding for finding in findings if (place := compiled.index.get(finding.condition)) is not None}
    found = []
    for cause in causes:
        account, behind = _accounts(compiled.network, told, solved, cause, causes[0])
        name, leader = compiled.names[cause], compiled.names[causes[0]]
        assert isinstance(name, DefectRef)
        assert isinstance(leader, DefectRef)
        paths = paths_to_symptoms(compiled, told, cause, graph, knowledge)
        found.append(CauseExplanation(name, account, paths, leader if behind else None, behind))
    return tuple(found)


def _accounts(network: CausalNetwork, told: Mapping[int, Finding], solved: Posteriors, cause: int, leader: int) -> tuple[Account, Account | None]:
    region = next((each for each in solved.parts.regions if cause in each.variables), None)
    if region is None:
        prior, posterior = (_log_odds(p) for p in (float(network.leak[cause]), float(solved.probability[cause])))
        return Account(prior, (), 0, posterior - prior, posterior), None
    place = int(np.searchsorted(region.variables, cause))
    order = _by_distance(network, region, told, place, cause)
    odds = _solved_in_order(region, order, told)
    account = _account(odds[:, place], order, told)
    if leader == cause or leader not in region.variables:
        return account, None
    return account, _account(odds[:, place] - odds[:, int(np.searchsorted(region.variables, leader))], order, told)


def _by_distance(network: CausalNetwork, region: Region, told: Mapping[int, Finding], start: int, cause: int) -> list[int]:
    """The region's variables with findings: by links from the cause, in either direction, then by the strength of the way, then of the finding.

    What a finding on a rival says counts only once the effect that both share is known; this order has that effect first.
    """
    near = [set[int]() for _ in range(region.variables.size)]
    effects = region.effect.tolist() + region.feedback.effect.tolist()
    for parent, effect in zip(region.parent.tolist() + region.feedback.cause.tolist(), effects, strict=True):
        near[effect].add(parent)
        near[parent].add(effect)
    distance, frontier = {start: 0}, [start]
    for at in frontier:
        for each in near[at]:
            if each not in distance:
                distance[each] = distance[at] + 1
                frontier.append(each)
    reached = strongest_paths(network, cause)
    variables = region.variables.tolist()
    known = [place for place in distance if variables[place] in told]

    def order(place: int) -> tuple[int, float, float, ConditionRef]:
        finding = told[variables[place]]
        return distance[place], -float(reached[variables[place]]), -abs(finding.log_likelihood_ratio), finding.condition

    return [variables[place] for place in sorted(known, key=order)]


def _solved_in_order(region: Region, order: Sequence[int], told: Mapping[int, Finding]) -> Float64:
    """Log-odds of the region's variables, Float64[s + 2, k]: without findings, after each of the first s, and with all that is known."""
    solved = min(len(order), max(FEWEST_SOLVED, min(MOST_SOLVED, MOST_CELLS // region.plan.cluster_cells)))
    evidence = np.zeros(region.variables.size)
    odds = [region.log_odds(evidence)]
    for variable in order[:solved]:
        evidence[int(np.searchsorted(region.variables, variable))] = told[variable].log_likelihood_ratio
        odds.append(region.log_odds(evidence))
    moved: Float64 = np.array([*odds, region.log_odds()])
    return moved.clip(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)


def _account(odds: Float64, order: Sequence[int], told: Mapping[int, Finding]) -> Account:
    """From a log-odds as it moves, Float64[s + 2]; steps that say little are summed up."""
    changes = np.diff(odds[:-1])
    largest = np.argsort(-np.abs(changes), kind="stable")[:MOST_STEPS]
    telling = sorted(each for each in largest.tolist() if abs(changes[each]) >= TELLING)
    steps = tuple(Step(told[order[each]], float(changes[each])) for each in telling)
    before, after = float(odds[0]), float(odds[-1])
    return Account(before, steps, len(order) - len(steps), after - before - sum(step.change for step in steps), after)


def paths_to_symptoms(
    compiled: CompiledNetwork, told: Mapping[int, Finding], cause: int, graph: LiveGraph, knowledge: CausalKnowledge
) -> tuple[CausalPath, ...]:
    """The strongest way to each symptom the cause explains, the strongest first; at most MOST_PATHS."""
    reached = strongest_paths(compiled.network, cause)
    symptoms = [place for place, finding in told.items() if finding.log_likelihood_ratio > SHOWS and reached[place] >= EXPLAINS]
    symptoms.sort(key=lambda place: (-reached[place], told[place].condition))
    relations = _Relations(graph, knowledge)
    return tuple(
        CausalPath(tuple(_hop(compiled, *link, relations) for link in _way(compiled.network, reached, cause, symptom)), float(reached[symptom]))
        for symptom in symptoms[:MOST_PATHS]
    )


def _way(network: CausalNetwork, reached: Float64, cause: int, symptom: int) -> list[tuple[int, int, float]]:
    """The links of the strongest way, from the cause on, as (cause, effect, strength)."""
    links: list[tuple[int, int, float]] = []
    at, back, ahead = symptom, network.feedback, reached.copy()
    while at != cause:
        ahead[at] = -1.0  # a way does not come back
        returning = back.effect == at
        causes = np.append(network.parents(at), back.cause[returning])
        strengths = np.append(network.strengths(at), back.strength[returning])
        best = int(np.argmax(ahead[causes] * strengths))
        links.append((int(causes[best]), at, float(strengths[best])))
        at = int(causes[best])
    return links[::-1]


@dataclass(frozen=True, slots=True)
class _Relations:
    """Over which relation one condition causes another."""

    graph: LiveGraph
    knowledge: CausalKnowledge

    def between(self, cause: ConditionRef | DefectRef, effect: ConditionRef) -> str:
        """Empty within an entity."""
        if cause.entity == effect.entity:
            return ""
        kinds = {
            toward: {
                rule.relation
                for rule in self.knowledge.propagation
                if (rule.toward, rule.from_kind, rule.to_kind) == (toward, cause.entity.kind, effect.entity.kind)
                and (rule.cause, rule.effect) == (_word(cause), effect.condition)
            }
            for toward in Toward
        }
        ends = {Toward.TARGET: (cause.entity, effect.entity), Toward.SOURCE: (effect.entity, cause.entity)}
        for toward, (source, target) in ends.items():
            for relation in self.graph.relations(source=source, target=target):
                if relation.key.kind in kinds[toward]:
                    return relation.key.kind
        return ""


def _hop(compiled: CompiledNetwork, cause: int, effect: int, strength: float, relations: _Relations) -> Hop:
    name = compiled.names[effect]
    assert isinstance(name, ConditionRef)
    return Hop(name, relations.between(compiled.names[cause], name), strength)


def _word(name: ConditionRef | DefectRef) -> str:
    return name.defect if isinstance(name, DefectRef) else name.condition


def _log_odds(probability: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.clip(np.log(probability) - np.log1p(-probability), -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS))
