"""What Whence concludes: findings, root causes, diagnoses, incidents, impacts. Times are epoch nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schema.identity import EntityRef


@dataclass(frozen=True, slots=True, order=True)
class ConditionRef:
    """A condition of an entity, e.g. latency_high of database:prod/shop/orders."""

    entity: EntityRef
    condition: str


@dataclass(frozen=True, slots=True, order=True)
class DefectRef:
    """A defect of an entity, e.g. slow_query of database:prod/shop/orders."""

    entity: EntityRef
    defect: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence on one condition: log P(observed | holds) - log P(observed | does not hold); 0 is unknown and never a finding.

    `amount` in `unit`: seconds of latency in excess, failed requests in excess, share of a limit. `observed`: a clause for people.
    """

    condition: ConditionRef
    log_likelihood_ratio: float
    onset: int | None
    amount: float
    unit: str
    observed: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one finding adds to a root cause's log-odds: positive for, negative against (leave one out)."""

    finding: Finding
    weight: float


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would fix a root cause."""

    action: str
    effect: str
    risk: str


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A defect that a hard constraint excludes, and why."""

    cause: DefectRef
    because: str


@dataclass(frozen=True, slots=True)
class RootCause:
    """A defect with its posterior. `explains`: the symptoms it is a likely cause of. `service`: the service it belongs to, or None."""

    cause: DefectRef
    summary: str
    service: EntityRef | None
    probability: float
    onset: int | None
    explains: tuple[ConditionRef, ...]
    evidence: tuple[Evidence, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class Symptom:
    """A condition observed to hold, with its posterior."""

    finding: Finding
    probability: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that is believed at instant `at` (the end of the last closed window). Root causes by descending probability."""

    at: int
    root_causes: tuple[RootCause, ...]
    symptoms: tuple[Symptom, ...]
    ruled_out: tuple[RuledOut, ...]
    exact: bool
    stale: str = ""  # why this is not the latest possible diagnosis; empty when it is


class IncidentState(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Incident:
    """A root cause followed through time. `id` is stable: opening time and cause."""

    id: str
    cause: DefectRef
    state: IncidentState
    opened_at: int
    onset: int | None
    closed_at: int | None
    probability: float
    peak_probability: float
    symptoms: tuple[ConditionRef, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """A condition and its probability, with (`after`) and without (`before`) the intervention."""

    condition: ConditionRef
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Impact:
    """What a defect or condition takes down: effects by descending probability."""

    of: DefectRef | ConditionRef
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class Intervention:
    """do(): force a defect or condition of an entity to hold (True) or not (False)."""

    entity: EntityRef
    name: str
    value: bool


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The posteriors of conditions and defects under interventions, largest change first."""

    interventions: tuple[Intervention, ...]
    effects: tuple[Effect, ...]
    causes: Mapping[DefectRef, float]
