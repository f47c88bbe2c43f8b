"""What do() by sampled worlds costs on a network: the time for all that one defect reaches, with and without it."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from reasoning.monte_carlo import WORLDS, blast_radius, usually
from reasoning.network import CausalNetwork

QUESTIONS = 41


def do_blast_radius_p50_ms(network: CausalNetwork, seed: int, *, questions: int = QUESTIONS, worlds: int = WORLDS) -> float:
    """The median over random defects. What holds usually is known beforehand, as it is the same for all questions; the first one compiles."""
    random = np.random.default_rng(seed)
    usual = usually(network)
    milliseconds = []
    for defect in random.choice(np.flatnonzero(network.is_defect), questions + 1).tolist():
        began = perf_counter()
        blast_radius(network, defect, random, worlds=worlds, usual=usual)
        milliseconds.append((perf_counter() - began) * 1e3)
    return float(np.median(milliseconds[1:]))
