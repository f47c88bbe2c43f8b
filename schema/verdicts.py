"""What Whence concludes: findings, root causes, diagnoses, incidents, impacts. Times are epoch nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from schema.identity import EntityRef
from schema.windows import ChangeKind


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
class Effect:
    """A condition and its probability, with (`after`) and without (`before`) the intervention."""

    condition: ConditionRef
    before: float
    after: float


@dataclass(frozen=True, slots=True, order=True)
class EntityChange:
    """Something that was done to an entity, or happened to it: a deployment, another configuration, a restart."""

    at: int
    entity: EntityRef
    kind: ChangeKind
    detail: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A root cause followed through time. `id` is stable: opening time and cause.

    `symptoms`: all that it explained while it was likely. `evidence`: what spoke for and against it when it was last likely and something
    moved. `impacts`: what it takes down, as of its opening. `changes`: what was done, in the hour before it opened, to what it is about.
    """

    id: str
    cause: DefectRef
    state: IncidentState
    opened_at: int
    onset: int | None
    closed_at: int | None
    probability: float
    peak_probability: float
    symptoms: tuple[ConditionRef, ...]
    evidence: tuple[Evidence, ...] = ()
    impacts: tuple[Effect, ...] = ()
    changes: tuple[EntityChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Impact:
    """What a defect or condition takes down: effects by descending probability.

    `exact`: else the probabilities are shares of sampled worlds, with a standard error of at most `standard_error` each.
    """

    of: DefectRef | ConditionRef
    effects: tuple[Effect, ...]
    exact: bool = True
    standard_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Intervention:
    """do(): force a defect or condition of an entity to hold (True) or not (False)."""

    entity: EntityRef
    name: str
    value: bool


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The posteriors of conditions and defects under interventions, largest change first. `exact`: nothing was approximated.

    `standard_error`: of no probability more than this, where worlds were sampled; 0 where exact, None where how far off it may be is not known.
    """

    interventions: tuple[Intervention, ...]
    effects: tuple[Effect, ...]
    causes: Mapping[DefectRef, float]
    exact: bool = True
    standard_error: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a finding changes in a log-odds, once those before it are known."""

    finding: Finding
    change: float


@dataclass(frozen=True, slots=True)
class Account:
    """How a log-odds came about: `before` + the changes of all steps + `rest` = `after`.

    Steps stand in order of causal distance. `rest`: what `others` further findings, and what lies beyond the part solved together, change in all.
    """

    before: float
    steps: tuple[Step, ...]
    others: int
    rest: float
    after: float


@dataclass(frozen=True, slots=True)
class Hop:
    """A link of a causal path: `condition` follows over `relation` (empty within an entity) with `strength`."""

    condition: ConditionRef
    relation: str
    strength: float


@dataclass(frozen=True, slots=True)
class CausalPath:
    """The strongest way from a defect to a symptom, the last hop's condition. `strength`: the product of its hops'."""

    hops: tuple[Hop, ...]
    strength: float


@dataclass(frozen=True, slots=True)
class CauseExplanation:
    """Why a root cause is believed. `account`: of its log-odds from prior to posterior.

    `behind`: of the difference of its log-odds to that of `leader`, the likeliest cause; None for the leader, and where they share no findings.
    """

    cause: DefectRef
    account: Account
    paths: tuple[CausalPath, ...]
    leader: DefectRef | None = None
    behind: Account | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A defect and its probability under some supposition."""

    cause: DefectRef
    probability: float


@dataclass(frozen=True, slots=True)
class NextObservation:
    """A condition nobody has seen or missed yet. `gain`: bits of the causes' entropy that its detector's word is expected to take away.

    `probability`: that the detector shows it; `if_shown`, `if_not`: the likeliest cause then.
    """

    condition: ConditionRef
    gain: float
    probability: float
    if_shown: Verdict
    if_not: Verdict


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the diagnosis of instant `at` is what it is. `entropy`: of the leading causes, in bits; `would_tell`: by descending gain.

    `exact`: nothing was cut to get it.
    """

    at: int
    causes: tuple[CauseExplanation, ...]
    entropy: float
    would_tell: tuple[NextObservation, ...]
    exact: bool = True


@dataclass(frozen=True, slots=True)
class CauseSet:
    """Defects that hold together, and no other one worth considering: the probability of exactly that."""

    causes: tuple[DefectRef, ...]
    probability: float


@dataclass(frozen=True, slots=True)
class CauseSets:
    """The likeliest joint explanations at instant `at`, by descending probability. `exact`: nothing was cut, and the search came to its end."""

    at: int
    sets: tuple[CauseSet, ...]
    exact: bool = True
