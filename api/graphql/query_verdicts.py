"""Questions about what is wrong: diagnoses, root causes, incidents, impact, what-if; and the subscription to each new diagnosis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, cast

import strawberry

from api.graphql.arguments import bounded, entity_ref
from api.graphql.context import Context, Info
from api.graphql.errors import Code, UserError
from api.graphql.limits import MOST_EFFECTS, MOST_INTERVENTIONS, PAGE
from api.graphql.query_estate import At, not_found
from api.graphql.types_verdicts import CauseProbability, Diagnosis, Effect, Impact, Incident, IncidentState, Intervention, InterventionInput, RootCause, WhatIf
from api.hub import TooManySubscribersError
from api.runtime import NoDiagnosisError
from graph.store import StoreError
from reasoning.errors import ReasoningError
from schema import verdicts
from schema.identity import EntityRef

First = Annotated[int, strawberry.argument(description="How many, from the most probable or newest on.")]


def resolve_diagnosis(info: Info, at: At = None, first: First = 20) -> Diagnosis:
    return info.context.pages.page(_diagnosis(info.context, at), bounded(first, PAGE))


def resolve_root_causes(info: Info, at: At = None, first: First = 20) -> list[RootCause]:
    return info.context.pages.page(_diagnosis(info.context, at), bounded(first, PAGE)).root_causes


async def resolve_incidents(info: Info, state: IncidentState | None = None, first: First = 20) -> list[Incident]:
    wanted = None if state is None else verdicts.IncidentState(state.value)
    try:
        found = await info.context.runtime.incidents(wanted, bounded(first, PAGE))
    except StoreError as trouble:
        raise UserError(Code.STORE_UNAVAILABLE, f"The incidents can't be read: {trouble}") from None
    return [Incident.of(incident) for incident in found]


def resolve_impact(info: Info, entity: strawberry.ID, defect: str | None = None, condition: str | None = None, first: First = 50) -> Impact:
    ref, size = entity_ref(entity), bounded(first, MOST_EFFECTS)
    if (defect is None) == (condition is None):
        raise UserError(Code.BAD_USER_INPUT, "Give `defect` or `condition`, and not both.")
    _known(info.context, ref, f"{defect or condition}", defects=defect is not None, conditions=condition is not None)
    of = verdicts.DefectRef(ref, defect) if defect is not None else verdicts.ConditionRef(ref, f"{condition}")
    try:
        found = info.context.runtime.impact(of)
    except ReasoningError as trouble:
        raise UserError(Code.REASONING_FAILED, f"{trouble}") from None
    return Impact(
        entity=strawberry.ID(f"{ref}"),
        defect=defect,
        condition=condition,
        exact=found.exact,
        standard_error=float(found.standard_error),
        effects=[Effect.of(effect) for effect in found.effects[:size]],
    )


def resolve_what_if(info: Info, do: list[InterventionInput], first: First = 50) -> WhatIf:
    size = bounded(first, MOST_EFFECTS)
    bounded(len(do), MOST_INTERVENTIONS, "do")
    forced = [verdicts.Intervention(entity_ref(each.entity), each.name, each.value) for each in do]
    for each in forced:
        _known(info.context, each.entity, each.name, defects=True, conditions=True)
    try:
        found = info.context.runtime.what_if(forced)
    except ReasoningError as trouble:
        raise UserError(Code.REASONING_FAILED, f"{trouble}") from None
    causes = sorted(found.causes.items(), key=lambda each: (-each[1], each[0]))[:size]
    return WhatIf(
        interventions=[Intervention(entity=strawberry.ID(f"{each.entity}"), name=each.name, value=each.value) for each in found.interventions],
        exact=bool(found.exact),
        standard_error=found.standard_error,
        effects=[Effect.of(effect) for effect in found.effects[:size]],
        causes=[CauseProbability(entity=strawberry.ID(f"{cause.entity}"), defect=cause.defect, probability=float(value)) for cause, value in causes],
    )


async def resolve_diagnoses(info: Info, first: First = 10) -> AsyncGenerator[Diagnosis, None]:
    size = bounded(first, PAGE)
    # The hub's iterator is a generator; closing it frees the place at once.
    async with aclosing(cast("AsyncGenerator[verdicts.Diagnosis, None]", info.context.runtime.diagnoses())) as news:
        try:
            async for diagnosis in news:
                yield info.context.pages.page(diagnosis, size)
        except TooManySubscribersError as trouble:
            raise UserError(Code.TOO_MANY_SUBSCRIBERS, f"{trouble}") from None


def _diagnosis(context: Context, at: int | None) -> verdicts.Diagnosis:
    if at is None:
        return context.runtime.diagnosis
    try:
        return context.runtime.diagnosis_at(at)
    except NoDiagnosisError as trouble:
        raise UserError(Code.NOT_FOUND, f"{trouble}") from None


def _known(context: Context, ref: EntityRef, name: str, *, defects: bool, conditions: bool) -> None:
    pipeline = context.runtime.pipeline
    if pipeline.graph.entity(ref) is None:
        raise not_found(ref)
    knowledge = pipeline.knowledge.kinds.get(ref.kind)
    known = sorted([*(knowledge.defects if knowledge and defects else ()), *(knowledge.conditions if knowledge and conditions else ())])
    if name not in known:
        what = " or ".join(word for word, wanted in (("defect", defects), ("condition", conditions)) if wanted)
        choice = f"choose from {', '.join(known)}" if known else "nothing is known of this kind"
        raise UserError(Code.NOT_FOUND, f"A {ref.kind} has no {what} {name!r}: {choice}.")


@strawberry.type
class VerdictQuery:
    diagnosis: Diagnosis = strawberry.field(
        resolver=resolve_diagnosis, description="All that is believed, now or as of the last window that closed at or before an instant."
    )
    root_causes: list[RootCause] = strawberry.field(resolver=resolve_root_causes, description="The diagnosis' root causes, in descending probability.")
    incidents: list[Incident] = strawberry.field(resolver=resolve_incidents, description="Incidents as committed to the store, newest first.")
    impact: Impact = strawberry.field(resolver=resolve_impact, description="What a defect or a condition of an entity takes down. Give one of the two.")
    what_if: WhatIf = strawberry.field(resolver=resolve_what_if, description="The estate if defects or conditions were forced to hold or not to hold.")


@strawberry.type
class Subscription:
    diagnoses: AsyncGenerator[Diagnosis, None] = strawberry.subscription(
        resolver=resolve_diagnoses, description="The latest diagnosis, then each new one. Who reads slowly skips to the newest."
    )
