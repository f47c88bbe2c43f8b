"""What an answer is worth: top-k by the scorer beside the recorded incidents, and how far probabilities are from what came true."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

# Bounds of the studies the reaches come from: fine where most probabilities lie.
BINS = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
Cause = Mapping[str, Any]


class ScorerMissingError(Exception):
    """The recorded incidents are not where they were looked for; the message says what to do."""


class Scorer(Protocol):
    """The part of the scorer that is used."""

    def expected_hits(self, causes: Sequence[Cause], truth: str) -> Mapping[int, float]:
        """For each k the probability that the true service is within the first k when ties are broken at random."""

    def service_of(self, cause: Cause, truth: str) -> str:
        """The service a root cause belongs to."""


def scorer_in(folder: Path) -> Scorer:
    """The scorer that lies beside the recorded incidents. Raises ScorerMissingError."""
    path = folder / "score.py"
    spec = importlib.util.spec_from_file_location("recorded_incidents_score", path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise ScorerMissingError(
            f"There are no recorded incidents in {folder}: give their folder by --incidents or WHENCE_INCIDENTS, or choose a demo part by --only."
        )
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scorer: Scorer = module
    return scorer


@dataclass(frozen=True, slots=True)
class Scored:
    """One question about a recorded incident. `hits`: k -> expected hit; `probability`: of every service of the estate; `group`: its fault type."""

    name: str
    group: str
    truth: str
    hits: Mapping[int, float]
    probability: Mapping[str, float]

    @property
    def rank(self) -> int:
        """Of the true service, 0 where it is not accused at all. Ties are counted against it."""
        own = self.probability.get(self.truth, 0.0)
        return sum(other >= own for other in self.probability.values()) if own else 0


def score(scorer: Scorer, name: str, group: str, truth: str, causes: Sequence[Cause], services: Iterable[str]) -> Scored:
    """Scores the root causes of one answer. `services`: all that could have been accused."""
    probability = dict.fromkeys(services, 0.0)
    for cause in causes:
        service = scorer.service_of(cause, truth)
        probability[service] = max(probability.get(service, 0.0), cause["probability"])
    return Scored(name, group, truth, scorer.expected_hits(causes, truth), probability)


def top(scored: Sequence[Scored], k: int) -> float:
    """The mean of expected hits within the first k."""
    return mean([each.hits[k] for each in scored])


def mean(values: Sequence[float]) -> float:
    """To three places."""
    return round(sum(values) / len(values), 3)


def calibration_error(said: Iterable[tuple[float, bool]]) -> float:
    """Expected calibration error of (probability, came true): the mean distance between both over BINS, weighted by how many fall in each."""
    pairs = list(said)
    error = 0.0
    for low, high in zip(BINS, (*BINS[1:], float("inf")), strict=True):
        inside = [(probability, true) for probability, true in pairs if low <= probability < high]
        error += abs(sum(probability - true for probability, true in inside))
    return round(error / len(pairs), 4)


def said_of_services(scored: Iterable[Scored]) -> list[tuple[float, bool]]:
    """(probability, came true) of every service in every answer."""
    return [(probability, service == each.truth) for each in scored for service, probability in each.probability.items()]


def said_of_first(scored: Iterable[Scored]) -> list[tuple[float, bool]]:
    """(probability, came true) of the first service of every answer."""
    return [(probability, service == each.truth) for each in scored for service, probability in [max(each.probability.items(), key=lambda item: item[1])]]
