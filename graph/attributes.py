"""The attributes of entities and what they depend on, as a store keeps them beside the estate. They follow from the knowledge and from what is present."""

from __future__ import annotations

from dataclasses import dataclass

from graph.topology import RelationKey
from schema.identity import EntityRef


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An attribute in its unit. `conditions`: what is read from it. `measured`: else nothing shows it, and it only carries causes on."""

    name: str
    unit: str
    measured: bool
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Dependency:
    """The attribute `effect` follows the attribute `cause`.

    `strength`: P(effect's condition | cause's condition alone) while nothing is known of the traffic, of the strongest of the `rules`: "latency_high
    -> errors_high: 0.8 * share_of_error_excess", with the expression where the strength follows the traffic.
    """

    effect: str
    cause: str
    strength: float
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EntityAttributes:
    """The attributes of an entity, by name, and how they depend on each other, by effect and cause."""

    entity: EntityRef
    attributes: tuple[Quantity, ...]
    dependencies: tuple[Dependency, ...]


@dataclass(frozen=True, slots=True)
class RelationDependencies:
    """What depends on what over a relation. `of_source`: attributes of its source on some of its target; `of_target`: the other way round."""

    relation: RelationKey
    of_source: tuple[Dependency, ...]
    of_target: tuple[Dependency, ...]


def held_together(over: RelationDependencies, source: EntityAttributes | None, target: EntityAttributes | None) -> RelationDependencies | None:
    """Of dependencies those whose attributes both ends have; None where there are none."""
    if source is None or target is None:
        return None
    ours, theirs = ({quantity.name for quantity in end.attributes} for end in (source, target))
    of_source = tuple(each for each in over.of_source if each.effect in ours and each.cause in theirs)
    of_target = tuple(each for each in over.of_target if each.effect in theirs and each.cause in ours)
    return RelationDependencies(over.relation, of_source, of_target) if of_source or of_target else None
