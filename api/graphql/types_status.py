"""Where the process stands, as GraphQL types."""

from __future__ import annotations

import strawberry

from api.graphql.scalars import Instant


@strawberry.type(description="Telemetry that was not used.")
class Drop:
    reason: str
    count: float


@strawberry.type(description="Where Whence stands.")
class Status:
    at: Instant | None = strawberry.field(description="Event time of the latest diagnosis; null before the first.")
    version: str
    knowledge: str = strawberry.field(description="Digest of the causal knowledge in force.")
    knowledge_trouble: str = strawberry.field(description="Why the rule files read last were refused, with file and line; empty when they are in force.")
    entities: int
    relations: int
    open_incidents: int
    ready: bool
    durable_through: Instant | None = strawberry.field(description="Event time up to which the store holds everything; null before the first write.")
    store_trouble: str = strawberry.field(description="Why the store takes no writes; empty when it does.")
    unsettled: int = strawberry.field(description="Entities of which belief found no rest, as their symptoms contradict each other.")
    unsettled_entities: list[strawberry.ID] = strawberry.field(description="Which these are, by identity; the first hundred.")
    dropped: list[Drop] = strawberry.field(description="By reason, since the start.")
