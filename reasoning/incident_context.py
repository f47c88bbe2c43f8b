"""What an incident is kept with beside its cause: what it takes down, and what was changed before it opened."""

from __future__ import annotations

from collections.abc import Iterable

from graph.live import LiveGraph
from reasoning.compile import HOUR, touched_by
from schema.identity import EntityRef
from schema.verdicts import Effect, EntityChange, Impact, RootCause
from schema.windows import Change

MOST_IMPACTS = 30
LEAST_IMPACT = 0.01
MOST_CHANGES = 20


def impacts_of(impact: Impact) -> tuple[Effect, ...]:
    """The conditions that it raises most, by descending probability."""
    return tuple(effect for effect in impact.effects if effect.after - effect.before >= LEAST_IMPACT)[:MOST_IMPACTS]


def changes_before(at: int, cause: RootCause, changes: Iterable[Change], graph: LiveGraph) -> tuple[EntityChange, ...]:
    """The latest changes in the hour before `at` that touch what an incident of this cause is about, in order of time.

    That is the cause's entity and its service, what these stand on, one relation far, and the entities of the symptoms.
    """
    own = touched_by(graph, cause.cause.entity)
    about = own | {symptom.entity for symptom in cause.explains} | {relation.key.target for ref in own for relation in graph.relations(source=ref)}
    touched: dict[EntityRef, bool] = {}
    found = set()
    for change in changes:
        if at - HOUR < change.time <= at:
            ref = graph.ref(change.entity)
            if ref not in touched:
                touched[ref] = not about.isdisjoint(touched_by(graph, ref))
            if touched[ref]:
                found.add(EntityChange(change.time, ref, change.kind, change.detail))
    return tuple(sorted(found)[-MOST_CHANGES:])
