"""Damped loopy belief propagation on noisy-OR links, for the parts that are too wide for exact elimination. Approximate, and says so."""

from __future__ import annotations

import numpy as np

from reasoning.network import CausalNetwork
from schema.batches import Float64

ROUNDS = 200
DAMPING = 0.3
TOLERANCE = 1e-6


def loopy_posteriors(network: CausalNetwork, log_evidence: Float64) -> Float64:
    """P(fires | evidence) by two scalar messages a link: P(parent fires) down, log-likelihood ratio up (Pearl 1988, ch. 4).

    network: n variables, m links. log_evidence: Float64[n]. Returns Float64[n].
    """
    n, child = len(network), np.repeat(np.arange(len(network)), np.diff(network.parent_ptr))
    parent, strength = network.parent, network.strength
    down = np.full(len(parent), 0.01)
    up = np.zeros(len(parent))
    for _ in range(ROUNDS):
        silence = np.log1p(-np.minimum(strength * down, 1 - 1e-12))
        total_silence = np.log1p(-np.minimum(network.leak, 1 - 1e-12)) + np.bincount(child, silence, n)
        support = log_evidence + np.bincount(parent, up, n)
        rest = np.exp(np.minimum(total_silence[child] - silence, 0.0))
        ratio = np.exp(np.clip(support[child], -500, 500))
        fired = rest * (1 - strength)
        new_up = np.log((fired + (1 - fired) * ratio) / (rest + (1 - rest) * ratio))
        prior = np.clip(1 - np.exp(total_silence), 1e-12, 1 - 1e-12)
        own = np.log(prior / (1 - prior)) + support
        new_down = 1 / (1 + np.exp(-np.clip(own[parent] - up, -500, 500)))
        moved = max(float(np.abs(new_up - up).max(initial=0.0)), float(np.abs(new_down - down).max(initial=0.0)))
        up = DAMPING * up + (1 - DAMPING) * new_up
        down = DAMPING * down + (1 - DAMPING) * new_down
        if moved < TOLERANCE:
            break
    silence = np.log1p(-np.minimum(strength * down, 1 - 1e-12))
    prior = np.clip(1 - np.exp(np.log1p(-np.minimum(network.leak, 1 - 1e-12)) + np.bincount(child, silence, n)), 1e-12, 1 - 1e-12)
    belief = np.log(prior / (1 - prior)) + log_evidence + np.bincount(parent, up, n)
    return np.asarray(1 / (1 + np.exp(-np.clip(belief, -500, 500))), dtype=np.float64)
