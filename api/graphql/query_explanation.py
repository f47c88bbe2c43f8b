"""Questions about the latest diagnosis: why it is so, what to look at next, and which causes hold together."""

from __future__ import annotations

from typing import Annotated

import strawberry

from api.graphql.arguments import bounded
from api.graphql.context import Info
from api.graphql.errors import Code, UserError
from api.graphql.limits import MOST_EXPLAINED, MOST_SETS
from api.graphql.types_explanation import CauseSets, Explanation
from reasoning.errors import ReasoningError

First = Annotated[int, strawberry.argument(description="How many, from the most probable on.")]


def resolve_explanation(info: Info, first: First = 3) -> Explanation:
    size = bounded(first, MOST_EXPLAINED)
    try:
        return Explanation.of(info.context.runtime.explanation(size))
    except ReasoningError as trouble:
        raise UserError(Code.REASONING_FAILED, f"{trouble}") from None


def resolve_cause_sets(info: Info, first: First = 5) -> CauseSets:
    size = bounded(first, MOST_SETS)
    try:
        return CauseSets.of(info.context.runtime.cause_sets(size))
    except ReasoningError as trouble:
        raise UserError(Code.REASONING_FAILED, f"{trouble}") from None


@strawberry.type
class ExplanationQuery:
    explanation: Explanation = strawberry.field(
        resolver=resolve_explanation, description="Why the latest diagnosis is what it is, and what would tell most. Empty before the first."
    )
    cause_sets: CauseSets = strawberry.field(
        resolver=resolve_cause_sets, description="The likeliest joint explanations of what the latest diagnosis saw. Empty before the first."
    )
