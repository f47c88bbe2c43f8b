"""Posteriors of a causal network: exact on every component that fits, loopy belief propagation on the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasoning.belief_propagation import loopy_posteriors
from reasoning.elimination import marginals, plan_elimination
from reasoning.errors import InconsistentEvidenceError, InvalidEvidenceError
from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork, network_of
from schema.batches import Float64, Int32, Int64

WIDEST = 16
MOST_CELLS = 1 << 22
STRONGEST = 700.0


@dataclass(frozen=True, slots=True)
class Posteriors:
    """`probability`: Float64[n], P(holds | evidence). `exact`: every component was solved exactly."""

    probability: Float64
    exact: bool


def posteriors(network: CausalNetwork, log_evidence: Float64, *, widest: int = WIDEST) -> Posteriors:
    """P(variable holds | evidence) for every variable.

    log_evidence: Float64[n], log P(observed | holds) - log P(observed | does not hold); 0 where unknown.
    Raises InvalidEvidenceError, and InconsistentEvidenceError when every world is ruled out. docs/reasoning.md.
    """
    if log_evidence.size != len(network):
        raise InvalidEvidenceError(f"A network of {len(network)} variables needs as many values of evidence, not {log_evidence.size}.")
    wrong = np.flatnonzero(np.isnan(log_evidence))
    if wrong.size:
        raise InvalidEvidenceError(f"The evidence on variable {wrong[0]} is not a number: 0 says that nothing is known.")
    relevant = relevant_variables(network.order, network.parent_ptr, network.parent, log_evidence)
    found, exact = np.full(len(network), np.nan), True
    part_of = parts(relevant, network.parent_ptr, network.parent)
    by_part = np.flatnonzero(relevant)[np.argsort(part_of[relevant], kind="stable")]
    for part in np.split(by_part, np.flatnonzero(np.diff(part_of[by_part])) + 1):
        if part.size:
            found[part], was_exact = _solve(network, part, log_evidence, widest)
            exact &= was_exact
    fill_forward(network.order, network.parent_ptr, network.parent, network.strength, network.leak, found)
    return Posteriors(found, exact)


def _solve(network: CausalNetwork, part: Int64, log_evidence: Float64, widest: int) -> tuple[Float64, bool]:
    local = np.full(len(network), -1, np.int32)
    local[part] = np.arange(part.size, dtype=np.int32)
    inside = local[network.effect] >= 0
    sub = network_of(
        network.leak[part],
        local[network.parent[inside]],
        local[network.effect[inside]],
        network.strength[inside],
        network.cluster[part],
        network.is_defect[part],
    )
    plan = plan_elimination(sub.parent_ptr, sub.parent, widest, MOST_CELLS)
    if plan is None:
        return loopy_posteriors(sub, np.clip(log_evidence[part], -STRONGEST, STRONGEST)), False
    try:
        odds, _ = marginals(plan, sub.leak, sub.parent_ptr, sub.strength, log_evidence[part])
    except InconsistentEvidenceError as trouble:
        raise InconsistentEvidenceError(part[trouble.variables].tolist()) from None
    return 1.0 / (1.0 + np.exp(-odds)), True


@compiled
def relevant_variables(order: Int64, parent_ptr: Int64, parent: Int32, log_evidence: Float64) -> Bool:
    """Variables with evidence on themselves or below, bool[n]: the others are barren and only follow their parents."""
    relevant: Bool = np.asarray(log_evidence != 0.0)
    for place in range(order.size - 1, -1, -1):
        if relevant[order[place]]:
            for link in range(parent_ptr[order[place]], parent_ptr[order[place] + 1]):
                relevant[parent[link]] = True
    return relevant


@compiled
def parts(chosen: Bool, parent_ptr: Int64, parent: Int32) -> Int64:
    """The connected part of each chosen variable, named by its lowest variable: Int64[n]."""
    leader = np.arange(chosen.size)
    for variable in range(chosen.size):
        if not chosen[variable]:
            continue
        for link in range(parent_ptr[variable], parent_ptr[variable + 1]):
            one, other = variable, parent[link]
            while leader[one] != one:
                leader[one] = leader[leader[one]]
                one = leader[one]
            while leader[other] != other:
                leader[other] = leader[leader[other]]
                other = leader[other]
            leader[max(one, other)] = min(one, other)
    for variable in range(chosen.size):
        leader[variable] = leader[leader[variable]]
    return leader


@compiled
def fill_forward(order: Int64, parent_ptr: Int64, parent: Int32, strength: Float64, leak: Float64, found: Float64) -> None:
    """Gives barren variables (NaN in `found`) the probability that follows from their parents', taken as independent."""
    for variable in order:
        if np.isnan(found[variable]):
            silence = 1.0 - leak[variable]
            for link in range(parent_ptr[variable], parent_ptr[variable + 1]):
                silence *= 1.0 - strength[link] * found[parent[link]]
            found[variable] = 1.0 - silence
