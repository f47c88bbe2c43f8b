"""What the knowledge asks of evidence: which condition a detector speaks for, and how much its word may count."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from reasoning.evidence.behaviour import DETECTOR
from reasoning.evidence.detectors import LEVEL_DETECTORS
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
    slope = settings.behaviour_slope if rule.detector == DETECTOR else settings.slope
    bent = min(ratio, settings.knee + slope * (ratio - settings.knee))
    strongest = log((1.0 - rule.false_negative) / rule.false_positive)
    weakest = log(rule.false_negative / (1.0 - rule.false_positive))
    return min(max(bent, weakest), strongest)
