"""What the knowledge asks of evidence: which condition a detector speaks for, and how much its word may count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from reasoning.evidence.behaviour import DETECTOR
from reasoning.evidence.detectors import LEVEL_DETECTORS
from schema.batches import Float64
from schema.knowledge import CausalKnowledge, ConditionRule


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """`least_requests`: how many a baseline needs before it judges. `knee`, `slope`: beyond the knee only a share of a ratio counts, a smaller one

    of behaviour, whose many events are the least independent.
    """

    least_requests: float = 30.0
    least_windows: float = 6.0
    coin_worth: float = 100.0
    knee: float = 3.5
    slope: float = 0.5
    behaviour_slope: float = 0.3
    streams: int = 500_000


def rules_by_detector(knowledge: CausalKnowledge) -> dict[tuple[str, str, str], ConditionRule]:
    """The rules that detectors serve, by kind, detector and, for levels, attribute."""
    found: dict[tuple[str, str, str], ConditionRule] = {}
    for kind in knowledge.kinds.values():
        for rule in kind.conditions.values():
            if rule.detector:
                found[kind.kind, rule.detector, rule.attribute if rule.detector in LEVEL_DETECTORS else ""] = rule
    return found


def tempered(ratio: float, rule: ConditionRule, settings: EvidenceSettings) -> float:
    """No detector proves more than its rates of error allow, and beyond the knee nats are worth less: models of noise are too sure."""
    slope, weakest, strongest = _bounds(rule, settings)
    return min(max(min(ratio, settings.knee + slope * (ratio - settings.knee)), weakest), strongest)


def tempered_rows(ratios: Float64, rules: Sequence[ConditionRule | None], settings: EvidenceSettings) -> Float64:
    """As `tempered`, for Float64[r, k] and the rule of each row; nan where unknown, and where there is no rule."""
    bounds = np.array([_bounds(rule, settings) if rule is not None else (np.nan,) * 3 for rule in rules]).reshape(-1, 3)
    slope, weakest, strongest = bounds.T[:, :, None]
    return np.asarray(np.minimum(np.maximum(np.minimum(ratios, settings.knee + slope * (ratios - settings.knee)), weakest), strongest))


def _bounds(rule: ConditionRule, settings: EvidenceSettings) -> tuple[float, float, float]:
    """The slope beyond the knee, and the weakest and the strongest word."""
    slope = settings.behaviour_slope if rule.detector == DETECTOR else settings.slope
    return slope, log(rule.false_negative / (1.0 - rule.false_positive)), log((1.0 - rule.false_negative) / rule.false_positive)
