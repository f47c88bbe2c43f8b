"""Log-likelihood ratios of counts and values (docs/reasoning/evidence.md). Scalars in, scalars out; natural logarithms."""

from __future__ import annotations

from math import lgamma, log, log1p, pi

JEFFREYS = 0.5


def log_beta(a: float, b: float) -> float:
    """Ln B(a, b)."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def coin(shown: float, trials: float, base_shown: float, base_trials: float, worth: float) -> float:
    """Ln P(shown of trials | any rate) - ln P(shown of trials | the baseline's rate).

    The baseline counts for at most `worth` trials: real rates wander. 0 without a baseline.
    """
    if base_trials <= 0.0 or trials <= 0.0:
        return 0.0
    shrink = min(1.0, worth / base_trials)
    a, b = base_shown * shrink + JEFFREYS, max(base_trials - base_shown, 0.0) * shrink + JEFFREYS
    missed = max(trials - shown, 0.0)
    return log_beta(shown + JEFFREYS, missed + JEFFREYS) - log_beta(JEFFREYS, JEFFREYS) - log_beta(shown + a, missed + b) + log_beta(a, b)


def student(deviation: float, freedom: float) -> float:
    """Ln of Student's t density at `deviation` scales from the middle, scale 1."""
    return lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - 0.5 * log(freedom * pi) - (freedom + 1) / 2 * log1p(deviation * deviation / freedom)


def shifted(deviation: float, freedom: float, wide: float) -> float:
    """Ln density if abnormal (`wide` times wider) - ln density if normal, for a deviation in scales."""
    return student(deviation / wide, freedom) - log(wide) - student(deviation, freedom)
