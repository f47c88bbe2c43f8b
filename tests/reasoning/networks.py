"""Small random networks and the plainest possible inference on them, as oracle."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from reasoning.network import Bool, CausalNetwork, causal_network
from schema.batches import Float64

Link = tuple[int, int, float]
STRENGTHS = st.floats(0.01, 1.0)
PRIORS = st.floats(0.001, 0.6)


@st.composite
def networks(draw: st.DrawFn, most: int = 8, *, roots: int = 1) -> CausalNetwork:
    """Acyclic, at most `most` variables, families of any size; variables stand in no particular order."""
    count = draw(st.integers(roots, most))
    names = draw(st.permutations(range(count)))
    pairs = [(i, j) for j in range(count) for i in range(j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14)) if pairs else []
    links = [(names[i], names[j], draw(STRENGTHS)) for i, j in chosen]
    return causal_network(np.array(draw(st.lists(PRIORS, min_size=count, max_size=count))), links)


@st.composite
def problems(draw: st.DrawFn, most: int = 8, strongest: float = 8.0) -> tuple[CausalNetwork, Float64]:
    """A network and evidence on some of its variables."""
    network = draw(networks(most))
    ratios = st.one_of(st.just(0.0), st.floats(-strongest, strongest))
    return network, np.array(draw(st.lists(ratios, min_size=len(network), max_size=len(network))))


def links_of(network: CausalNetwork) -> list[Link]:
    """The links as (cause, effect, strength)."""
    return list(zip(network.parent.tolist(), network.effect.tolist(), network.strength.tolist(), strict=True))


def enumerated(network: CausalNetwork, log_evidence: Float64) -> tuple[Float64, float]:
    """P(variable holds | evidence) and the log of the evidence's expected likelihood, by summing over all worlds."""
    worlds = np.array(list(itertools.product((0.0, 1.0), repeat=len(network))))
    shift = float(np.maximum(log_evidence, 0.0).sum())
    weight = np.exp(worlds @ log_evidence - shift)
    for variable in range(len(network)):
        silence = (1.0 - network.leak[variable]) * np.prod(1.0 - network.strengths(variable) * worlds[:, network.parents(variable)], axis=1)
        weight *= np.where(worlds[:, variable] == 1.0, 1.0 - silence, silence)
    return weight @ worlds / weight.sum(), float(np.log(weight.sum())) + shift


def counterfactual(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64) -> tuple[Float64, Float64]:
    """What holds given the evidence, and what would under the values, over all worlds of leaks and links: those are shared."""
    chances = np.concatenate((network.leak, network.strength))
    total, before, after = 0.0, np.zeros(len(network)), np.zeros(len(network))
    for luck in itertools.product((0, 1), repeat=chances.size):
        weight = float(np.prod(np.where(np.array(luck, bool), chances, 1.0 - chances)))
        if weight == 0.0:
            continue
        factual = _world(network, luck, {})
        weight *= float(np.exp(log_evidence @ factual))
        total += weight
        before += weight * factual
        after += weight * _world(network, luck, values)
    return before / total, after / total


def _world(network: CausalNetwork, luck: tuple[int, ...], values: Mapping[int, bool]) -> Float64:
    holds = np.zeros(len(network))
    for variable in network.order.tolist():
        first, last = int(network.parent_ptr[variable]), int(network.parent_ptr[variable + 1])
        caused = any(luck[len(network) + link] and holds[network.parent[link]] for link in range(first, last))
        holds[variable] = float(values.get(variable, bool(luck[variable]) or caused))
    return holds


def reachable(network: CausalNetwork, start: int) -> Bool:
    """The variables below one, itself included: bool[n]."""
    below = np.zeros(len(network), np.bool_)
    below[start] = True
    for variable in network.order.tolist():
        below[variable] |= below[network.parents(variable)].any()
    return below
