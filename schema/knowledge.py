"""Causal knowledge as data: how kinds of entity fail, what shows it, and how it travels. Loaded by schema/loader.py from schema/causal/.

A condition is a leaky noisy-OR of its causes: defects of the same entity, conditions of the same entity, and conditions of
neighbours over a relation (Pearl 1988, ch. 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

STRENGTH_VARIABLES: dict[str, str] = {
    "share_of_latency_excess": "share of the caller's excess time that this callee's excess accounts for, now",
    "latency_growth": "the caller's excess time over its usual time, now",
    "share_of_error_excess": "share of the caller's excess failures in which a call to this callee failed, now",
    "failed_calls_growth": "share of the calls to this callee that fail, beyond the usual share, now",
    "share_of_requests": "share of the caller's requests that reach this callee",
    "share_of_time": "share of the caller's time spent waiting for this callee",
    "calls_per_request": "calls to this callee per request of the caller",
    "share_of_callee_load": "share of the callee's calls that come from this caller",
    "share_of_members": "one over the number of entities that stand in the same relation (pods of a service)",
    "synchronous": "1 when the caller waits for the callee, else 0",
}
"""The names a strength expression may use; live values are unknown until traffic was seen."""


@dataclass(frozen=True, slots=True)
class Strength:
    """P(effect | this cause alone): `evaluate` gets the live relation attributes that are known and returns a probability.

    `otherwise` serves when the expression needs an attribute that is not known.
    """

    text: str
    needs: frozenset[str]
    otherwise: float
    evaluate: Callable[[Mapping[str, float]], float]

    def under(self, live: Mapping[str, float]) -> float:
        """The strength under the live relation attributes, within 0..1."""
        value = self.evaluate(live) if self.needs <= live.keys() else self.otherwise
        return min(max(value, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class ConditionRule:
    """An abnormal state. `detector` of `attribute` shows it (empty: never observed directly). `leak`: P(holds | no known cause).

    `false_positive`: P(detector fires | does not hold), `false_negative`: P(silent | holds); both bound what the detector can prove.
    `shows_after`: seconds it holds before what is measured can show it; onsets are dated back by it.
    """

    name: str
    summary: str
    attribute: str
    detector: str
    leak: float
    false_positive: float
    false_negative: float
    shows_after: float = 0.0


@dataclass(frozen=True, slots=True)
class CauseLink:
    """`cause` (a defect or condition of the same entity) makes `effect` (a condition of it) hold with `strength`."""

    cause: str
    effect: str
    strength: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class RemedyRule:
    """What fixes a defect."""

    action: str
    effect: str
    risk: str


@dataclass(frozen=True, slots=True)
class DefectRule:
    """A way the kind fails by itself. `raised_by`: change kind -> factor on the prior for changes of the last hour.

    `only_with`: the relation an entity must be the source of to fail so (only who consumes can be a slow consumer); `only_without`: the
    relation it must not be the target of (traffic comes from outside only to those whom nobody inside calls). Empty for none.
    `owner`: who can mend it, where that is not the owner of the kind. `source`: of the prior; `sources`: change kind or caused condition
    -> who says that number, where it is neither the prior's source (changes) nor the kind's (conditions).
    """

    name: str
    summary: str
    prior_per_hour: float
    raised_by: Mapping[str, float]
    remedies: tuple[RemedyRule, ...]
    source: str
    only_with: str = ""
    only_without: str = ""
    owner: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)


class Toward(StrEnum):
    """Which way an effect travels along a relation source -> target."""

    SOURCE = "source"  # from the target to the source: callee to caller
    TARGET = "target"  # from the source to the target: caller to callee


@dataclass(frozen=True, slots=True)
class PropagationRule:
    """`cause` of a `from_kind` entity makes `effect` of a `to_kind` entity hold, over `relation`, travelling `toward` one end."""

    relation: str
    toward: Toward
    from_kind: str
    cause: str
    to_kind: str
    effect: str
    strength: Strength
    source: str = ""


@dataclass(frozen=True, slots=True)
class KindKnowledge:
    """All that is known of one kind of entity. `source`: of the strengths and rates, empty where nobody says. `owner`: who usually owns the entities."""

    kind: str
    conditions: Mapping[str, ConditionRule]
    defects: Mapping[str, DefectRule]
    links: tuple[CauseLink, ...]
    source: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """A test inside a rule file: a small estate, what is given, and what must follow. Run by reasoning/examples.py.

    `entities`: reference text -> kind; `relations`: (source, relation, target). Either `causes` (defects or conditions forced to
    hold) -> `symptoms` with at least this probability, or `findings` (condition text -> log-likelihood ratio) -> `first`, the
    defect that must rank first. `unlike`: the defect that the findings look like at first sight, for it would show at least one of
    them, and that must be less than half as probable as `first`. A defect or condition is written `entity_reference.name`.
    """

    name: str
    location: str
    entities: Mapping[str, str]
    relations: tuple[tuple[str, str, str], ...]
    live: Mapping[str, float]
    causes: tuple[str, ...]
    symptoms: Mapping[str, float]
    findings: Mapping[str, float]
    first: str
    unlike: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """The entities of a kind that an override is for. None: any. `name` may hold * and ?; `labels`: attributes the entity must have."""

    kind: str
    cluster: str | None
    namespace: str | None
    name: str | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Override:
    """`priors`: defect -> prior per hour. `thresholds`: condition -> least difference, in its attribute's unit, that anyone would act on."""

    location: str
    selector: Selector
    priors: Mapping[str, float]
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CausalKnowledge:
    """The knowledge in force. `version`: a digest of the files it came from."""

    version: str
    kinds: Mapping[str, KindKnowledge]
    propagation: tuple[PropagationRule, ...]
    examples: tuple[WorkedExample, ...]
    overrides: tuple[Override, ...] = ()
