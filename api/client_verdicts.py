"""The verdicts that the public client answers with: frozen values, one for each type of the GraphQL schema (api.client_results)."""

from __future__ import annotations

from dataclasses import dataclass

from api.client_results import Instant


@dataclass(frozen=True, slots=True)
class Condition:
    """An abnormal state of an entity."""

    entity: str
    condition: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A finding that speaks for (`weight` > 0) or against a root cause. `observed`: what was seen, in words; `amount`: how much is behind it, in `unit`."""

    entity: str
    condition: str
    weight: float
    log_likelihood_ratio: float
    observed: str
    amount: float
    unit: str
    onset: Instant | None


@dataclass(frozen=True, slots=True)
class Remedy:
    """What would fix a root cause."""

    action: str
    effect: str
    risk: str


@dataclass(frozen=True, slots=True)
class RootCause:
    """A defect of an entity with its posterior. `service`: identity of the service the entity belongs to."""

    entity: str
    kind: str
    cluster: str
    namespace: str
    name: str
    service: str | None
    defect: str
    summary: str
    probability: float
    onset: Instant | None
    explains: tuple[Condition, ...]
    evidence: tuple[Evidence, ...]
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class Symptom:
    """A condition believed to hold."""

    entity: str
    condition: str
    probability: float
    observed: str
    amount: float
    unit: str
    onset: Instant | None


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A defect that hard constraints exclude."""

    entity: str
    defect: str
    because: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was believed at an instant, root causes by descending probability. `omitted`: symptoms and ruled-out defects not listed."""

    at: Instant | None
    exact: bool
    stale: str
    root_causes: tuple[RootCause, ...]
    symptoms: tuple[Symptom, ...]
    ruled_out: tuple[RuledOut, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class Effect:
    """How probable a condition is without and with the cause or the intervention."""

    entity: str
    condition: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was done to an entity, or happened to it: `kind` is "deploy", "config", "restart" …"""

    at: Instant
    entity: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A root cause followed through time. `state`: "OPEN" or "RECOVERED". `symptoms`, `evidence`: while it was likely; `changes`: before it."""

    id: str
    entity: str
    defect: str
    state: str
    opened_at: Instant
    onset: Instant | None
    closed_at: Instant | None
    probability: float
    peak_probability: float
    symptoms: tuple[Condition, ...]
    evidence: tuple[Evidence, ...] = ()
    impacts: tuple[Effect, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Impact:
    """What a cause takes down, the most affected first. Where not `exact`, no probability has a standard error above `standard_error`."""

    entity: str
    defect: str | None
    condition: str | None
    effects: tuple[Effect, ...]
    exact: bool
    standard_error: float


@dataclass(frozen=True, slots=True)
class Intervention:
    """do(): a defect or condition of an entity set to happen or not."""

    entity: str
    name: str
    value: bool


@dataclass(frozen=True, slots=True)
class CauseProbability:
    """A root cause under an intervention."""

    entity: str
    defect: str
    probability: float


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What interventions would change. Sampled probabilities have a standard error of at most `standard_error`: 0 where exact, None where unknown."""

    interventions: tuple[Intervention, ...]
    effects: tuple[Effect, ...]
    causes: tuple[CauseProbability, ...]
    exact: bool
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class Cause:
    """A defect of an entity."""

    entity: str
    defect: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a finding changes in a log-odds, once those before it are known. `log_likelihood_ratio`: below 0 the condition was not seen."""

    entity: str
    condition: str
    log_likelihood_ratio: float
    observed: str
    change: float


@dataclass(frozen=True, slots=True)
class Account:
    """How a log-odds came about: `before` + the changes of the steps + `rest`, of `others` further findings, = `after`."""

    before: float
    steps: tuple[Step, ...]
    others: int
    rest: float
    after: float


@dataclass(frozen=True, slots=True)
class Hop:
    """A condition that follows over a relation, empty within an entity."""

    entity: str
    condition: str
    relation: str
    strength: float


@dataclass(frozen=True, slots=True)
class CausalPath:
    """The strongest way from a defect to a symptom, the condition of its last hop."""

    strength: float
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class CauseExplanation:
    """Why a root cause is believed. `behind`: of the difference to the leader's log-odds; None for the leader, and without findings in common."""

    entity: str
    defect: str
    account: Account
    paths: tuple[CausalPath, ...]
    leader: Cause | None
    behind: Account | None


@dataclass(frozen=True, slots=True)
class NextObservation:
    """A condition nobody has seen or missed yet, and the bits of doubt that its detector's word is expected to take away."""

    entity: str
    condition: str
    gain: float
    probability: float
    if_shown: CauseProbability
    if_not: CauseProbability


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the diagnosis of an instant is what it is. `entropy`: how much is in doubt, in bits."""

    at: Instant | None
    exact: bool
    causes: tuple[CauseExplanation, ...]
    entropy: float
    would_tell: tuple[NextObservation, ...]


@dataclass(frozen=True, slots=True)
class CauseSet:
    """Defects that hold together, and no other one worth considering."""

    probability: float
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class CauseSets:
    """Joint explanations of what the latest diagnosis saw, in descending probability."""

    at: Instant | None
    exact: bool
    sets: tuple[CauseSet, ...]
