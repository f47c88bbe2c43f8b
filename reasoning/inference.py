"""Posteriors of a causal network: exact on every component that fits, loopy belief propagation on the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasoning.belief_propagation import loopy_posteriors
from reasoning.elimination import TooWideError, elimination_order, marginals, noisy_or_factors
from reasoning.errors import InconsistentEvidenceError
from reasoning.network import Bool, CausalNetwork, Float64, Int64, causal_network

WIDEST = 16


@dataclass(frozen=True, slots=True)
class Posteriors:
    """`probability`: Float64[n], P(fires | evidence). `exact`: every component was solved exactly."""

    probability: Float64
    exact: bool


def posteriors(network: CausalNetwork, log_evidence: Float64, *, widest: int = WIDEST) -> Posteriors:
    """P(variable fires | evidence) for every variable.

    log_evidence: Float64[n], log P(observed | fires) - log P(observed | does not fire); 0 where unknown.
    Raises InconsistentEvidenceError when every world is ruled out. After Pearl (1988), ch. 4; docs/reasoning.md.
    """
    if np.isnan(log_evidence).any():
        raise InconsistentEvidenceError(np.flatnonzero(np.isnan(log_evidence)).tolist())
    evidence = np.clip(log_evidence, -700.0, 700.0)
    relevant = _relevant(network, evidence)
    found, exact = np.empty(len(network)), True
    for part in _components(network, relevant):
        solved, was_exact = _solve(network, part, evidence, widest)
        found[part] = solved
        exact &= was_exact
    _fill_forward(network, relevant, found)
    return Posteriors(found, exact)


def _relevant(network: CausalNetwork, evidence: Float64) -> Bool:
    """Variables with evidence on themselves or below: the others are barren and only follow their parents."""
    relevant: Bool = np.asarray(evidence != 0.0, dtype=np.bool_)
    for v in range(len(network) - 1, -1, -1):
        if relevant[v]:
            relevant[network.parents(v)] = True
    return relevant


def _components(network: CausalNetwork, relevant: Bool) -> list[Int64]:
    leader = np.arange(len(network))

    def find(v: int) -> int:
        while leader[v] != v:
            leader[v] = leader[leader[v]]
            v = int(leader[v])
        return v

    members = np.flatnonzero(relevant)
    for v in members.tolist():
        for u in network.parents(v).tolist():
            leader[find(u)] = find(v)
    groups: dict[int, list[int]] = {}
    for v in members.tolist():
        groups.setdefault(find(v), []).append(v)
    return [np.array(group, dtype=np.int64) for group in groups.values()]


def _solve(network: CausalNetwork, part: Int64, evidence: Float64, widest: int) -> tuple[Float64, bool]:
    local = {v: place for place, v in enumerate(part.tolist())}
    parents = [[local[u] for u in network.parents(v).tolist()] for v in part.tolist()]
    strengths = [network.strengths(v).tolist() for v in part.tolist()]
    leak = network.leak[part].tolist()
    count, factors = noisy_or_factors(leak, parents, strengths, evidence[part].tolist())
    try:
        order = elimination_order(count, [factor.scope for factor in factors], widest)
    except TooWideError:
        links = [(u, x, w) for x, (us, ws) in enumerate(zip(parents, strengths, strict=True)) for u, w in zip(us, ws, strict=True)]
        return loopy_posteriors(causal_network(network.leak[part], links), evidence[part]), False
    try:
        solved, _ = marginals(count, factors, order)
    except InconsistentEvidenceError:
        raise InconsistentEvidenceError([v for v in part.tolist() if evidence[v] != 0.0]) from None
    return solved[: len(part)], True


def _fill_forward(network: CausalNetwork, relevant: Bool, found: Float64) -> None:
    """Barren variables, in causal order, by their parents' posteriors taken as independent: they carry no evidence."""
    for v in np.flatnonzero(~relevant).tolist():
        found[v] = 1.0 - (1.0 - network.leak[v]) * float(np.prod(1.0 - network.strengths(v) * found[network.parents(v)]))
