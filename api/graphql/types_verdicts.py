"""Verdicts as GraphQL types: diagnoses, incidents, impacts, what-ifs. Fields are stored; `of` fills them from schema/verdicts.py."""

from __future__ import annotations

from enum import Enum

import strawberry

from api.graphql.scalars import Instant, instant
from api.graphql.types_estate import Node
from schema import verdicts

MOST_SYMPTOMS = 500


@strawberry.enum(description="Where an incident stands.")
class IncidentState(Enum):
    OPEN = "open"
    RECOVERED = "recovered"


@strawberry.type(description="A condition of an entity, e.g. latency_high.")
class Condition:
    entity: strawberry.ID
    condition: str

    @classmethod
    def of(cls, condition: verdicts.ConditionRef) -> Condition:
        """From the verdict."""
        return cls(entity=strawberry.ID(f"{condition.entity}"), condition=condition.condition)


@strawberry.type(description="What one finding adds to a root cause.")
class Evidence:
    entity: strawberry.ID
    condition: str
    weight: float = strawberry.field(description="Change of the cause's log-odds if this finding alone were left out: positive speaks for it.")
    log_likelihood_ratio: float = strawberry.field(description="log P(observed | condition holds) - log P(observed | it does not).")
    observed: str = strawberry.field(description="What was seen, in words.")
    amount: float
    unit: str
    onset: Instant | None

    @classmethod
    def of(cls, evidence: verdicts.Evidence) -> Evidence:
        """From the verdict."""
        finding = evidence.finding
        return cls(
            entity=strawberry.ID(f"{finding.condition.entity}"),
            condition=finding.condition.condition,
            weight=float(evidence.weight),
            log_likelihood_ratio=float(finding.log_likelihood_ratio),
            observed=finding.observed,
            amount=float(finding.amount),
            unit=finding.unit,
            onset=instant(finding.onset),
        )


@strawberry.type(description="What would fix a root cause.")
class Remedy:
    action: str
    effect: str
    risk: str


@strawberry.type(description="A defect of an entity with its posterior probability.")
class RootCause:
    entity: strawberry.ID
    kind: str
    cluster: str
    namespace: str
    name: str
    service: strawberry.ID | None = strawberry.field(description="The service the entity belongs to; null for what is shared.")
    defect: str
    summary: str
    probability: float
    onset: Instant | None
    explains: list[Condition] = strawberry.field(description="The symptoms it is a likely cause of.")
    evidence: list[Evidence] = strawberry.field(description="The findings that weigh most, for and against.")
    remedies: list[Remedy]

    @classmethod
    def of(cls, cause: verdicts.RootCause) -> RootCause:
        """From the verdict."""
        ref = cause.cause.entity
        return cls(
            entity=strawberry.ID(f"{ref}"),
            kind=ref.kind,
            cluster=ref.cluster,
            namespace=ref.namespace,
            name=ref.name,
            service=None if cause.service is None else strawberry.ID(f"{cause.service}"),
            defect=cause.cause.defect,
            summary=cause.summary,
            probability=float(cause.probability),
            onset=instant(cause.onset),
            explains=[Condition.of(condition) for condition in cause.explains],
            evidence=[Evidence.of(evidence) for evidence in cause.evidence],
            remedies=[Remedy(action=remedy.action, effect=remedy.effect, risk=remedy.risk) for remedy in cause.remedies],
        )


@strawberry.type(description="A condition observed to hold.")
class Symptom:
    entity: strawberry.ID
    condition: str
    probability: float
    observed: str
    amount: float
    unit: str
    onset: Instant | None

    @classmethod
    def of(cls, symptom: verdicts.Symptom) -> Symptom:
        """From the verdict."""
        finding = symptom.finding
        return cls(
            entity=strawberry.ID(f"{finding.condition.entity}"),
            condition=finding.condition.condition,
            probability=float(symptom.probability),
            observed=finding.observed,
            amount=float(finding.amount),
            unit=finding.unit,
            onset=instant(finding.onset),
        )


@strawberry.type(description="A defect that a hard constraint excludes.")
class RuledOut:
    entity: strawberry.ID
    defect: str
    because: str

    @classmethod
    def of(cls, ruled_out: verdicts.RuledOut) -> RuledOut:
        """From the verdict."""
        return cls(entity=strawberry.ID(f"{ruled_out.cause.entity}"), defect=ruled_out.cause.defect, because=ruled_out.because)


@strawberry.type(description="All that is believed at an instant.")
class Diagnosis:
    at: Instant | None = strawberry.field(description="End of the last closed window; null before the first.")
    exact: bool = strawberry.field(description="False where probabilities were approximated.")
    stale: str = strawberry.field(description="Why this is not the latest possible diagnosis; empty when it is.")
    root_causes: list[RootCause] = strawberry.field(description="The first ones, in descending probability.")
    symptoms: list[Symptom] = strawberry.field(description=f"In descending probability, at most {MOST_SYMPTOMS}.")
    ruled_out: list[RuledOut] = strawberry.field(description=f"At most {MOST_SYMPTOMS}.")
    omitted: int = strawberry.field(description="How many symptoms and ruled-out defects are not listed.")

    @classmethod
    def of(cls, diagnosis: verdicts.Diagnosis, first: int) -> Diagnosis:
        """From the verdict, with its `first` root causes."""
        return cls(
            at=instant(diagnosis.at),
            exact=bool(diagnosis.exact),
            stale=diagnosis.stale,
            root_causes=[RootCause.of(cause) for cause in diagnosis.root_causes[:first]],
            symptoms=[Symptom.of(symptom) for symptom in diagnosis.symptoms[:MOST_SYMPTOMS]],
            ruled_out=[RuledOut.of(each) for each in diagnosis.ruled_out[:MOST_SYMPTOMS]],
            omitted=sum(max(0, len(listed) - MOST_SYMPTOMS) for listed in (diagnosis.symptoms, diagnosis.ruled_out)),
        )


@strawberry.type(description="A condition's probability without (before) and with (after) what was asked.")
class Effect:
    entity: strawberry.ID
    condition: str
    before: float
    after: float

    @classmethod
    def of(cls, effect: verdicts.Effect) -> Effect:
        """From the verdict."""
        condition = effect.condition
        return cls(entity=strawberry.ID(f"{condition.entity}"), condition=condition.condition, before=float(effect.before), after=float(effect.after))


@strawberry.type(description="Something that was done to an entity, or happened to it.")
class Change:
    at: Instant
    entity: strawberry.ID
    kind: str = strawberry.field(description="deploy, config, scale, restart, oom_killed, node_not_ready or warning.")
    detail: str

    @classmethod
    def of(cls, change: verdicts.EntityChange) -> Change:
        """From the verdict."""
        return cls(at=Instant(change.at), entity=strawberry.ID(f"{change.entity}"), kind=change.kind.value, detail=change.detail)


@strawberry.type(description="A root cause followed through time, from onset to recovery.")
class Incident(Node):
    entity: strawberry.ID
    defect: str
    state: IncidentState
    opened_at: Instant
    onset: Instant | None
    closed_at: Instant | None
    probability: float
    peak_probability: float
    symptoms: list[Condition] = strawberry.field(description="All that it explained while it was likely.")
    evidence: list[Evidence] = strawberry.field(description="What spoke for and against it, when it was last likely and something moved.")
    impacts: list[Effect] = strawberry.field(description="What it takes down, as of its opening; the most probable first.")
    changes: list[Change] = strawberry.field(description="What was done, in the hour before it opened, to what it is about.")

    @classmethod
    def of(cls, incident: verdicts.Incident) -> Incident:
        """From the verdict."""
        return cls(
            id=strawberry.ID(incident.id),
            entity=strawberry.ID(f"{incident.cause.entity}"),
            defect=incident.cause.defect,
            state=IncidentState(incident.state.value),
            opened_at=Instant(incident.opened_at),
            onset=instant(incident.onset),
            closed_at=instant(incident.closed_at),
            probability=float(incident.probability),
            peak_probability=float(incident.peak_probability),
            symptoms=[Condition.of(condition) for condition in incident.symptoms],
            evidence=[Evidence.of(evidence) for evidence in incident.evidence],
            impacts=[Effect.of(effect) for effect in incident.impacts],
            changes=[Change.of(change) for change in incident.changes],
        )


@strawberry.type(description="What a defect or condition takes down.")
class Impact:
    entity: strawberry.ID
    defect: str | None
    condition: str | None
    exact: bool = strawberry.field(description="True where no world was sampled and nothing approximated.")
    standard_error: float = strawberry.field(description="Of sampled probabilities, the largest; 0 where exact.")
    effects: list[Effect] = strawberry.field(description="The largest first.")


@strawberry.input(description="do(): force a defect or condition of an entity to hold, or not to.")
class InterventionInput:
    entity: strawberry.ID
    name: str = strawberry.field(description="A defect or a condition of the entity.")
    value: bool = strawberry.field(description="True: it holds. False: it does not.")


@strawberry.type
class Intervention:
    entity: strawberry.ID
    name: str
    value: bool


@strawberry.type
class CauseProbability:
    entity: strawberry.ID
    defect: str
    probability: float


@strawberry.type(description="The estate under interventions.")
class WhatIf:
    interventions: list[Intervention]
    exact: bool = strawberry.field(description="False where probabilities were approximated.")
    standard_error: float | None = strawberry.field(
        description="Of sampled probabilities, the largest; 0 where exact, null where how far off they may be is not known."
    )
    effects: list[Effect] = strawberry.field(description="The largest change first.")
    causes: list[CauseProbability] = strawberry.field(description="Defects under the interventions, in descending probability.")
