"""DateTime: an instant of event time. Epoch nanoseconds inside, ISO 8601 in UTC outside, with the nanoseconds it has."""

from __future__ import annotations

from functools import lru_cache
from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from api.instants import InstantError, parse_instant, write_instant

Instant = NewType("Instant", int)
LATEST = (1 << 63) - 1


def instant(nanoseconds: int | None) -> Instant | None:
    """0 and None mean never."""
    return Instant(nanoseconds) if nanoseconds else None


def read_instant(text: object) -> Instant:
    """Epoch nanoseconds of what a client sent. Raises GraphQLError."""
    try:
        nanoseconds = parse_instant(text) if isinstance(text, str) else 0
    except InstantError as trouble:
        raise GraphQLError(f"{trouble}") from None
    if not 0 < nanoseconds <= LATEST:
        raise GraphQLError(f"{text!r} is no instant between 1970 and 2262: write ISO 8601 such as 2026-03-01T12:30:00Z.")
    return Instant(nanoseconds)


def date_time() -> ScalarDefinition:
    """The scalar's definition, for a schema's scalar map."""
    return strawberry.scalar(
        name="DateTime",
        description="An instant of event time, ISO 8601 with the nanoseconds it has, in UTC.",
        serialize=lru_cache(maxsize=4_096)(write_instant),  # an answer holds thousands of instants, nearly all of them ends of the same few windows
        parse_value=read_instant,
    )
