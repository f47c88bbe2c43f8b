"""Questions about the estate: entities and topology, now from the live graph, at an instant from the store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated

import strawberry

from api.graphql.arguments import bounded, cursor, entity_ref, page
from api.graphql.context import Context, Info
from api.graphql.errors import Code, UserError
from api.graphql.limits import DEEPEST_TOPOLOGY, TOPOLOGY_ENTITIES, TOPOLOGY_RELATIONS
from api.graphql.scalars import Instant
from api.graphql.types_estate import Entity, EntityConnection, EntityEdge, EntityFilter, PageInfo, Topology, entities_of, relations_of
from graph.live import LiveGraph
from graph.store import StoreError
from graph.topology import Entity as EstateEntity
from graph.topology import Relation as EstateRelation
from graph.topology import Snapshot
from schema.identity import EntityRef

At = Annotated[Instant | None, strawberry.argument(description="An instant of the past; now if left out.")]


async def resolve_entity(info: Info, id: strawberry.ID, at: At = None) -> Entity | None:  # noqa: A002 - the argument's public name
    context, ref = info.context, entity_ref(id)
    found = context.runtime.pipeline.graph.entity(ref) if at is None else await _stored_entity(context, ref, at)
    if found is None:
        raise not_found(ref, at)
    return entities_of([found], context.runtime.pipeline.graph)[0]


def resolve_entities(
    info: Info,
    filter: EntityFilter | None = None,  # noqa: A002 - the argument's public name
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
) -> EntityConnection:
    wanted = page(first, after, last, before)
    kind, text = (filter.kind, filter.text or "") if filter else (None, "")
    walk = (info.context.index.before if wanted.backward else info.context.index.after)(wanted.cursor, kind, text)
    found = list(islice(walk, wanted.size + 1))
    more = len(found) > wanted.size
    chosen = found[: wanted.size][::-1] if wanted.backward else found[: wanted.size]
    edges = [EntityEdge(cursor=cursor(node.id), node=node) for node in entities_of(chosen, info.context.runtime.pipeline.graph)]
    return EntityConnection(
        edges=edges,
        page_info=PageInfo(
            has_next_page=wanted.cursor is not None if wanted.backward else more,
            has_previous_page=more if wanted.backward else wanted.cursor is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )


async def resolve_topology(info: Info, start: Annotated[strawberry.ID, strawberry.argument(name="root")], depth: int = 1, at: At = None) -> Topology:
    ref = entity_ref(start)
    around, truncated = await _around(info.context, ref, bounded(depth, DEEPEST_TOPOLOGY, "depth"), at)
    return Topology(
        at=Instant(around.at),
        root=strawberry.ID(f"{ref}"),
        entities=entities_of(around.entities, info.context.runtime.pipeline.graph),
        relations=relations_of(around.relations),
        truncated=truncated,
    )


def not_found(ref: EntityRef, at: int | None = None) -> UserError:
    """An entity that is not there."""
    if at is not None:
        return UserError(Code.NOT_FOUND, f"There was no entity {ref} at that instant: leave out `at`, or ask for an instant at which it was seen.")
    return UserError(Code.NOT_FOUND, f"There is no entity {ref}: `entities(filter: {{text: …}})` finds those there are.")


async def _stored_entity(context: Context, ref: EntityRef, at: int) -> EstateEntity | None:
    try:
        return await context.runtime.store.get(ref, at)
    except StoreError as trouble:
        raise UserError(Code.STORE_UNAVAILABLE, f"The past can't be read: {trouble}") from None


async def _around(context: Context, ref: EntityRef, depth: int, at: int | None) -> tuple[Snapshot, bool]:
    around = _around_now(context.runtime.pipeline.graph, ref, depth) if at is None else await _around_then(context, ref, depth, at)
    if not around.entities:
        raise not_found(ref, at)
    return truncate(around, ref, TOPOLOGY_ENTITIES, TOPOLOGY_RELATIONS)


def _around_now(graph: LiveGraph, ref: EntityRef, depth: int) -> Snapshot:
    """One step further at a time, so that a hub is not read to its last neighbour's neighbour before it is cut."""
    around = graph.neighbourhood(ref, 1)
    for further in range(2, depth + 1):
        if len(around.entities) > TOPOLOGY_ENTITIES:
            break
        wider = graph.neighbourhood(ref, further)
        if len(wider.entities) == len(around.entities):
            break
        around = wider
    return around


async def _around_then(context: Context, ref: EntityRef, depth: int, at: int) -> Snapshot:
    """One more than is shown, so that what is cut is known to be."""
    try:
        return await context.runtime.store.neighbours(ref, depth, at, most=TOPOLOGY_ENTITIES + 1)
    except StoreError as trouble:
        raise UserError(Code.STORE_UNAVAILABLE, f"The past can't be read: {trouble}") from None


def truncate(around: Snapshot, root: EntityRef, entities: int, relations: int) -> tuple[Snapshot, bool]:
    """The nearest `entities` (ties in ascending identity) and the first `relations` among them; True if anything was cut."""
    if len(around.entities) <= entities and len(around.relations) <= relations:
        return around, False
    distance = _distances(around.relations, root)
    nearest = sorted(around.entities, key=lambda entity: (distance.get(entity.ref, len(distance)), entity.ref))[:entities]
    kept = {entity.ref for entity in nearest}
    among = tuple(relation for relation in around.relations if relation.key.source in kept and relation.key.target in kept)
    return Snapshot(around.at, tuple(entity for entity in around.entities if entity.ref in kept), among[:relations]), True


def _distances(relations: Sequence[EstateRelation], root: EntityRef) -> dict[EntityRef, int]:
    touching: dict[EntityRef, list[EntityRef]] = {}
    for relation in relations:
        touching.setdefault(relation.key.source, []).append(relation.key.target)
        touching.setdefault(relation.key.target, []).append(relation.key.source)
    distance = {root: 0}
    frontier = [root]
    while frontier:
        reached = [end for place in frontier for end in touching.get(place, [])]
        step = distance[frontier[0]] + 1
        frontier = [end for end in dict.fromkeys(reached) if end not in distance]
        distance.update(dict.fromkeys(frontier, step))
    return distance


@strawberry.type
class EstateQuery:
    entity: Entity | None = strawberry.field(resolver=resolve_entity, description="One entity, now or as it was.")
    entities: EntityConnection = strawberry.field(
        resolver=resolve_entities,
        description="The entities there are now, in ascending identity: `first` with `after`, or `last` with `before`, at most 100 a page.",
    )
    topology: Topology = strawberry.field(
        resolver=resolve_topology, description=f"What lies around an entity, up to {DEEPEST_TOPOLOGY} relations away in either direction."
    )
