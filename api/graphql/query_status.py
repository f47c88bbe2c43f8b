"""The question where Whence stands."""

from __future__ import annotations

import strawberry

from api.graphql.context import Info
from api.graphql.scalars import instant
from api.graphql.types_status import Drop, Status

MOST_UNSETTLED = 100


def resolve_status(info: Info) -> Status:
    context = info.context
    status = context.runtime.status()
    return Status(
        at=instant(status.at),
        version=context.version,
        knowledge=status.knowledge,
        knowledge_trouble=status.knowledge_trouble,
        entities=status.entities,
        relations=status.relations,
        open_incidents=status.open_incidents,
        ready=context.runtime.ready,
        durable_through=instant(status.durable_through),
        store_trouble=status.store_trouble,
        unsettled=len(status.unsettled),
        unsettled_entities=[strawberry.ID(f"{ref}") for ref in status.unsettled[:MOST_UNSETTLED]],
        dropped=[Drop(reason=reason, count=float(count)) for reason, count in sorted(status.dropped.items())],
    )


@strawberry.type
class StatusQuery:
    status: Status = strawberry.field(
        resolver=resolve_status, description="Where Whence stands: what it holds, what it could not use, whether the store keeps up."
    )
