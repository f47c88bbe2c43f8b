"""The estate as GraphQL types: entities, relations, topology. Fields are stored; `of` fills them when a page is built."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from api.graphql.scalars import Instant
from graph.live import LiveGraph
from graph.topology import Entity as EstateEntity
from graph.topology import Relation as EstateRelation
from graph.topology import RelationStatistics as EstateStatistics
from schema.identity import EntityRef


@strawberry.interface(description="Something with an identity that lasts.")
class Node:
    id: strawberry.ID = strawberry.field(description="For an entity: kind:cluster/namespace/name.")


@strawberry.type(description="A descriptive label of an entity, e.g. service.version.")
class EntityAttribute:
    name: str
    value: str


@strawberry.type(description="Something that can fail: a service, database, pod, node, network path …")
class Entity(Node):
    kind: str
    cluster: str = strawberry.field(description="Empty where there is none.")
    namespace: str = strawberry.field(description="Empty where there is none.")
    name: str
    service: strawberry.ID | None = strawberry.field(description="The service it belongs to; null for what is shared.")
    attributes: list[EntityAttribute] = strawberry.field(description="In ascending name.")
    sources: list[str] = strawberry.field(description="What saw it, e.g. otlp.traces.")
    first_seen: Instant
    last_seen: Instant

    @classmethod
    def of(cls, entity: EstateEntity, service: EntityRef | None) -> Entity:
        """From the graph's value."""
        ref = entity.ref
        return cls(
            id=strawberry.ID(f"{ref}"),
            kind=ref.kind,
            cluster=ref.cluster,
            namespace=ref.namespace,
            name=ref.name,
            service=None if service is None else strawberry.ID(f"{service}"),
            attributes=[EntityAttribute(name=name, value=value) for name, value in sorted(entity.attributes.items())],
            sources=list(entity.sources),
            first_seen=Instant(entity.first_seen),
            last_seen=Instant(entity.last_seen),
        )


@strawberry.type(description="Traffic along a relation in the last minute of event time.")
class RelationStatistics:
    seconds: float = strawberry.field(description="How much event time the counts cover.")
    requests: int
    errors: int
    request_rate: float = strawberry.field(description="Requests a second.")
    error_ratio: float = strawberry.field(description="Failed share of the requests, 0 to 1.")
    mean_duration_seconds: float

    @classmethod
    def of(cls, statistics: EstateStatistics) -> RelationStatistics:
        """From the graph's value."""
        return cls(
            seconds=float(statistics.seconds),
            requests=int(statistics.requests),
            errors=int(statistics.errors),
            request_rate=float(statistics.request_rate),
            error_ratio=float(statistics.error_ratio),
            mean_duration_seconds=float(statistics.mean_duration),
        )


@strawberry.type(description="A typed, directed edge between two entities.")
class Relation:
    source: strawberry.ID
    kind: str = strawberry.field(description="calls, queries, publishes_to, consumes_from, runs_on, part_of …")
    target: strawberry.ID
    sources: list[str] = strawberry.field(description="What saw it, e.g. otlp.traces.")
    confidence: float = strawberry.field(description="How sure it is that the relation exists, 0 to 1.")
    first_seen: Instant
    last_seen: Instant
    statistics: RelationStatistics | None = strawberry.field(description="Null where no requests travel or none were seen lately.")

    @classmethod
    def of(cls, relation: EstateRelation) -> Relation:
        """From the graph's value."""
        key = relation.key
        return cls(
            source=strawberry.ID(f"{key.source}"),
            kind=key.kind,
            target=strawberry.ID(f"{key.target}"),
            sources=list(relation.sources),
            confidence=float(relation.confidence),
            first_seen=Instant(relation.first_seen),
            last_seen=Instant(relation.last_seen),
            statistics=None if relation.statistics is None else RelationStatistics.of(relation.statistics),
        )


@strawberry.type(description="The part of the estate around an entity.")
class Topology:
    at: Instant = strawberry.field(description="The event time it shows.")
    root: strawberry.ID
    entities: list[Entity]
    relations: list[Relation] = strawberry.field(description="Relations among these entities.")
    truncated: bool = strawberry.field(description="True if there is more than one answer may hold; the nearest entities are kept.")


@strawberry.type(description="Where a page ends.")
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class EntityEdge:
    cursor: str
    node: Entity


@strawberry.type(description="A page of entities in ascending identity.")
class EntityConnection:
    edges: list[EntityEdge]
    page_info: PageInfo


@strawberry.input(description="Which entities; all that is given must hold.")
class EntityFilter:
    kind: str | None = strawberry.field(default=None, description="A kind of entity, e.g. database.")
    text: str | None = strawberry.field(default=None, description="Part of the identity, in any case of letters.")


def entities_of(entities: Sequence[EstateEntity], graph: LiveGraph) -> list[Entity]:
    """Fills a page. The service is the one the entity belongs to now."""
    return [Entity.of(entity, graph.service_of(entity.ref)) for entity in entities]


def relations_of(relations: Sequence[EstateRelation]) -> list[Relation]:
    """Fills a page."""
    return [Relation.of(relation) for relation in relations]
