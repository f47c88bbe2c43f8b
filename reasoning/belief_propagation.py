"""Loopy belief propagation on noisy-OR links: exact on trees, an estimate elsewhere. It decides which links matter (reasoning.regions)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork
from schema.batches import Float64, Int32, Int64

ROUNDS = 60
TOLERANCE = 5e-3  # of a log-odds
UNDAMPED, DAMPING = 5, 0.2  # rounds that suffice where there are few loops; then old messages keep this share
STRONGEST = 700.0  # exp of more does not fit a double


@dataclass(frozen=True, slots=True)
class Messages:
    """Of every link, Float64[m]: `down`, P(cause holds) without the effect's word; `up`, the log-likelihood ratio that the effect tells its cause.

    log_odds: Float64[n], log P(1) / P(0) of every relevant variable, 0 of the others.
    """

    down: Float64
    up: Float64
    log_odds: Float64


def propagate(network: CausalNetwork, log_evidence: Float64, relevant: Bool) -> Messages:
    """Messages among the relevant variables (Pearl 1988, ch. 4): rounds up and down the causal order until nothing moves.

    relevant: bool[n], closed under causes; what is left out carries no evidence. log_evidence: Float64[n].
    """
    down, up, log_odds = np.zeros(network.strength.size), np.zeros(network.strength.size), np.zeros(len(network))
    order = network.order[relevant[network.order]]
    evidence = np.clip(log_evidence, -STRONGEST, STRONGEST)
    links = (network.parent_ptr, network.strength, network.child_ptr, network.child_link)
    for each in range(ROUNDS):
        moved = sweep(order, relevant, network.leak, *links, network.effect, evidence, DAMPING if each >= UNDAMPED else 0.0, down, up, log_odds)
        if moved < TOLERANCE:
            break
    return Messages(down, up, log_odds)


@compiled
def sweep(
    order: Int64,
    relevant: Bool,
    leak: Float64,
    parent_ptr: Int64,
    strength: Float64,
    child_ptr: Int64,
    child_link: Int64,
    effect: Int32,
    evidence: Float64,
    damping: float,
    down: Float64,
    up: Float64,
    log_odds: Float64,
) -> float:
    """One round: messages down in causal order, then up against it. Fills down, up, log_odds; returns the largest move of an odds."""
    least, moved = 1e-300, 0.0
    for x in order:
        silence = 1.0 - leak[x]
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            silence *= 1.0 - strength[link] * down[link]
        odds = np.log(max(1.0 - silence, least)) - np.log(max(silence, least)) + evidence[x]
        for position in range(child_ptr[x], child_ptr[x + 1]):
            odds += up[child_link[position]]
        moved = max(moved, abs(min(max(odds, -30.0), 30.0) - min(max(log_odds[x], -30.0), 30.0)))
        log_odds[x] = odds
        for position in range(child_ptr[x], child_ptr[x + 1]):
            link = child_link[position]
            if relevant[effect[link]]:
                told = 1.0 / (1.0 + np.exp(min(max(up[link] - odds, -700.0), 700.0)))
                down[link] = damping * down[link] + (1.0 - damping) * told
    for place in range(order.size - 1, -1, -1):
        x = order[place]
        support, silence = evidence[x], 1.0 - leak[x]
        for position in range(child_ptr[x], child_ptr[x + 1]):
            support += up[child_link[position]]
        support = min(max(support, -700.0), 700.0)
        on, off = np.exp(min(support, 0.0)), np.exp(min(-support, 0.0))
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            silence *= max(1.0 - strength[link] * down[link], 1e-16)
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            rest = silence / max(1.0 - strength[link] * down[link], 1e-16)
            fired = rest * (1.0 - strength[link])
            told = np.log(max(fired * off + (1.0 - fired) * on, least)) - np.log(max(rest * off + (1.0 - rest) * on, least))
            up[link] = damping * up[link] + (1.0 - damping) * told
    return moved
