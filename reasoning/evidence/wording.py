"""What a detector saw, as a clause for people."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from reasoning.evidence.detectors import LEVEL_DETECTORS
from schema.attributes import ATTRIBUTES, Scale

SAMPLED = frozenset(LEVEL_DETECTORS)
COUNTED = {"failing": "requests failed", "failing_own": "requests failed by themselves", "unanswered": "calls never reached it"}


@dataclass(frozen=True, slots=True)
class Observed:
    """`amount` in `unit` is the excess behind the finding (DESIGN.md: seconds of latency, failed requests, share of a limit)."""

    text: str
    amount: float
    unit: str


def observed(detector: str, attribute: str, before: float, after: float, count: float, event: str) -> Observed:
    """The clause for a finding. `event`: what an operation did differently, for the behaviour detector."""
    if attribute and detector in SAMPLED:
        return _sampled(attribute, before, after)
    if detector == "behaving_differently":
        return Observed(f"{event} in {after:.0%} of {count:.0f} requests, usually {before:.0%}", (after - before) * count, "{request}")
    if detector in COUNTED:
        return Observed(f"{after:.1%} of {count:.0f} {COUNTED[detector]}, usually {before:.1%}", (after - before) * count, "{request}")
    if detector in {"busier", "quieter"}:
        # The streams hold square roots of counts, whose noise does not grow with the traffic.
        return Observed(f"{after**2 / max(before**2, 1e-9):.1f} times the usual requests", after**2 - before**2, "{request}")
    return Observed(f"{duration(after)} on average, usually {duration(before)}", (after - before) * count, "s")


def _sampled(attribute: str, before: float, after: float) -> Observed:
    known = ATTRIBUTES[attribute]
    name = known.name.replace("_", " ")
    if known.scale == Scale.STATE:
        return Observed(f"{name} in {after:.0%} of the last readings", after - 1.0, "1")
    if isnan(before):
        return Observed(f"{name} {after:.0%}", after, "1")
    if known.scale in {Scale.SHARE, Scale.RATIO}:
        return Observed(f"{name} {after:.0%}, usually {before:.0%}", after - before, "1")
    if known.unit == "s":
        return Observed(f"{name} {duration(after)}, usually {duration(before)}", after - before, "s")
    return Observed(f"{name} {after:.3g}, usually {before:.3g}", after - before, known.unit)


def duration(seconds: float) -> str:
    """0.0123 -> `12 ms`."""
    if abs(seconds) >= 1.0:
        return f"{seconds:.2g} s" if abs(seconds) < 10.0 else f"{seconds:.0f} s"
    return f"{seconds * 1e3:.3g} ms" if abs(seconds) >= 0.001 else f"{seconds * 1e6:.0f} µs"
