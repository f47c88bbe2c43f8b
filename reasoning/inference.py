"""Posteriors of a causal network: arrays in, arrays out. Exact wherever the parts that matter fit (docs/reasoning.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from reasoning.errors import InvalidEvidenceError
from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork
from reasoning.regions import Partition, PlanCache, partition
from schema.batches import Float64, Int32, Int64

STRONGEST_LEFT_OUT = 30.0


@dataclass(frozen=True, slots=True)
class Posteriors:
    """`probability`: Float64[n], P(holds | evidence). `exact`: no link was cut to get it. `parts`: what was solved together."""

    probability: Float64
    exact: bool
    parts: Partition = field(repr=False, compare=False)


def posteriors(network: CausalNetwork, log_evidence: Float64, *, wanted: Bool | None = None, plans: PlanCache | None = None) -> Posteriors:
    """P(variable holds | evidence) for every variable.

    log_evidence: Float64[n], log P(observed | holds) - log P(observed | does not hold); 0 where unknown, infinite where certain.
    Variables without evidence on or below them follow from the others as if their causes were independent, but for those `wanted`:
    bool[n]. `plans` saves work from call to call. Raises InvalidEvidenceError; InconsistentEvidenceError when every world is ruled out.
    """
    relevant = _relevant(network, log_evidence, wanted)
    parts = partition(network, log_evidence, relevant, plans or PlanCache())
    log_odds = parts.log_odds
    for region in parts.regions:
        log_odds[region.variables] = region.log_odds()
    probability = probabilities(log_odds)
    fill_forward(network.order, network.parent_ptr, network.parent, network.strength, network.leak, probability)
    return Posteriors(probability, parts.exact, parts)


def evidence_weights(solved: Posteriors, log_evidence: Float64, causes: Int64) -> Float64:
    """What each variable's evidence adds to the log-odds of each cause, Float64[c, n]: the change when it alone is left out.

    log_evidence: what was solved under. P(cause | the rest) follows from the beliefs with the cause held at 1 and at 0, so no
    finding needs a solution of its own. Evidence outside the cause's part weighs 0. Raises InconsistentEvidenceError.
    """
    weights = np.zeros((causes.size, log_evidence.size))
    for region in solved.parts.regions:
        known = log_evidence[region.variables]
        bounded = np.clip(known, -STRONGEST_LEFT_OUT, STRONGEST_LEFT_OUT)
        evidence = np.where(bounded == known, region.log_evidence, bounded)
        for row in np.flatnonzero(np.isin(causes, region.variables)).tolist():
            place = int(np.searchsorted(region.variables, causes[row]))
            absent, present = (region.log_odds(_held(evidence, place, value)) for value in (-np.inf, np.inf))
            weights[row, region.variables] = _left_out(absent, bounded) - _left_out(present, bounded)
            weights[row, causes[row]] = bounded[place]
    return weights


def _left_out(log_odds: Float64, log_evidence: Float64) -> Float64:
    """Log of the sum over x of P(x) / (evidence's weight on x)."""
    return np.log(probabilities(-log_odds) + probabilities(log_odds) * np.exp(-log_evidence))


def _held(log_evidence: Float64, place: int, value: float) -> Float64:
    held = log_evidence.copy()
    held[place] = value
    return held


def probabilities(log_odds: Float64) -> Float64:
    """P(1) of log P(1) / P(0), element by element."""
    return 1.0 / (1.0 + np.exp(-np.clip(log_odds, -700.0, 700.0)))


def check_evidence(log_evidence: Float64, variables: int) -> None:
    """Raises InvalidEvidenceError where it is not as many numbers as there are variables."""
    if log_evidence.size != variables:
        raise InvalidEvidenceError(f"A network of {variables} variables needs as many values of evidence, not {log_evidence.size}.")
    wrong = np.flatnonzero(np.isnan(log_evidence))
    if wrong.size:
        raise InvalidEvidenceError(f"The evidence on variable {wrong[0]} is not a number: give 0 where nothing is known.", wrong.tolist())


def _relevant(network: CausalNetwork, log_evidence: Float64, wanted: Bool | None) -> Bool:
    check_evidence(log_evidence, len(network))
    relevant: Bool = np.array(log_evidence != 0.0) if wanted is None else np.logical_or(log_evidence != 0.0, wanted)
    close_over_causes(network, relevant)
    return relevant


def close_over_causes(network: CausalNetwork, chosen: Bool) -> None:
    """Adds the causes of what is chosen, along feedback links too, in place: bool[n]."""
    back = network.feedback
    while True:
        close_upwards(network.order, network.parent_ptr, network.parent, chosen)
        missing = chosen[back.effect] & ~chosen[back.cause]
        if not missing.any():
            return
        chosen[back.cause[missing]] = True


@compiled
def close_upwards(order: Int64, parent_ptr: Int64, parent: Int32, chosen: Bool) -> None:
    """Adds the causes of what is chosen, in place: bool[n]."""
    for place in range(order.size - 1, -1, -1):
        if chosen[order[place]]:
            for link in range(parent_ptr[order[place]], parent_ptr[order[place] + 1]):
                chosen[parent[link]] = True


@compiled
def fill_forward(order: Int64, parent_ptr: Int64, parent: Int32, strength: Float64, leak: Float64, found: Float64) -> None:
    """Gives variables that are NaN in `found` the probability that follows from their causes', taken as independent."""
    for variable in order:
        if np.isnan(found[variable]):
            silence = 1.0 - leak[variable]
            for link in range(parent_ptr[variable], parent_ptr[variable + 1]):
                silence *= 1.0 - strength[link] * found[parent[link]]
            found[variable] = 1.0 - silence
