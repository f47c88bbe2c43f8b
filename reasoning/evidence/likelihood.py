"""Log-likelihood ratios of counts and values (docs/reasoning/evidence.md). Scalars in, scalars out; natural logarithms."""

from __future__ import annotations

from math import exp, isnan, lgamma, log, log1p, pi, sqrt

import numpy as np

from reasoning.native import compiled
from schema.batches import Float64

JEFFREYS = 0.5
FREEDOM = 4.0
SHIFTS = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
SHIFTS.setflags(write=False)
FALLS = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
FALLS.setflags(write=False)
SPREAD_OF_SHIFT = 0.3
LONGEST_TAIL = log(1000.0)
HARMLESS_MOVE = 0.05
HARDLY_ABOVE = 0.05  # density of a value that counts as high at its usual level


@compiled
def log_beta(a: float, b: float) -> float:
    """Ln B(a, b)."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


@compiled
def coin(shown: float, trials: float, base_shown: float, base_trials: float, worth: float) -> float:
    """Ln P(shown of trials | any rate) - ln P(shown of trials | the baseline's rate), beta-binomial with Jeffreys' prior.

    The baseline counts for at most `worth` trials: real rates wander. 0 without a baseline.
    """
    if base_trials <= 0.0 or trials <= 0.0:
        return 0.0
    shrink = min(1.0, worth / base_trials)
    a, b = base_shown * shrink + JEFFREYS, max(base_trials - base_shown, 0.0) * shrink + JEFFREYS
    missed = max(trials - shown, 0.0)
    return log_beta(shown + JEFFREYS, missed + JEFFREYS) - log_beta(JEFFREYS, JEFFREYS) - log_beta(shown + a, missed + b) + log_beta(a, b)


@compiled
def student(deviation: float) -> float:
    """Ln of Student's t density with 4 degrees of freedom at `deviation` scales from the middle, scale 1."""
    constant = lgamma((FREEDOM + 1) / 2) - lgamma(FREEDOM / 2) - 0.5 * log(FREEDOM * pi)
    return constant - (FREEDOM + 1) / 2 * log1p(deviation * deviation / FREEDOM)


@compiled
def shifted(deviation: float, scale: float, sizes: Float64) -> float:
    """Ln P(deviation | a shift of one of `sizes`, each as likely, known to 30 %) - ln P(deviation | no shift); noise t with `scale`."""
    total = 0.0
    for size in sizes:
        wide = sqrt(scale * scale + (SPREAD_OF_SHIFT * size) ** 2)
        total += np.exp(student((deviation - size) / wide) - student(deviation / scale)) * scale / wide
    return log(total / len(sizes))


@compiled
def near_limit(share: float, usual: float, scale: float) -> float:
    """A share of a limit: density 6 share^5 if the limit is what matters. If not, t round the usual level, or now and then a move

    to some other harmless level, the fuller the rarer (density 2 (1 - share)), which is all there is where nothing is usual yet (nan).
    Never for a share that fell.
    """
    filled = max(min(share, 0.99), 0.01)
    if isnan(usual):
        return 5.0 * log(filled) + log(6.0) - log(2.0 * (1.0 - filled))
    normal = log(exp(student((share - usual) / scale)) / scale * (1.0 - HARMLESS_MOVE) + HARMLESS_MOVE * 2.0 * (1.0 - filled))
    ratio = 5.0 * log(filled) + log(6.0) - normal
    return ratio if share > usual else min(ratio, 0.0)


@compiled
def below_usual(value: float, usual: float, scale: float) -> float:
    """A value that may be anywhere below its usual level, against t round that level. What rose is as little below as what stayed."""
    deviation = min((value - usual) / scale, 0.0)
    return -log(max(usual, scale)) - student(deviation) + log(scale)


@compiled
def above_usual(value: float, usual: float, scale: float) -> float:
    """A value that may be any number of scales (up to a thousand) above its usual level, rarely less than one, against t round that level."""
    # What fell is as little above as what stands where it stood.
    deviation = max((value - usual) / scale, 0.0)
    density = 1.0 / (LONGEST_TAIL * max(deviation, 1.0))
    if deviation < 1.0:
        density = HARDLY_ABOVE + (density - HARDLY_ABOVE) * deviation
    return log(density) - student(deviation)
