"""What knowledge says of a kind, ready to be laid out over entities: its variables in order, its links, and how effects travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from reasoning.network import Bool
from schema.batches import Float64, Int32, Int64
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, DefectRule, KindKnowledge, PropagationRule, Strength, Toward
from schema.verdicts import ConditionRef, DefectRef

PRIOR_HOURS = 1.0
LARGEST_PRIOR = 0.2

Name = ConditionRef | DefectRef


@dataclass(frozen=True, slots=True)
class Layout:
    """The v variables of an entity of a kind, defects before conditions, and its l links by place.

    defect_at, condition_at: the places. leak: Float64[v], is_defect: bool[v]. cause, effect: Int32[l], strength: Float64[l].
    bound: the defects, with their places, whose prior depends on the entity: on its relations, or on what overrides.yaml says of it.
    """

    number: int
    defect_at: Mapping[str, int]
    condition_at: Mapping[str, int]
    leak: Float64
    is_defect: Bool
    cause: Int32
    effect: Int32
    strength: Float64
    bound: tuple[tuple[int, DefectRule], ...]

    def names(self, ref: EntityRef) -> list[Name]:
        """The variables of an entity."""
        return [*(DefectRef(ref, name) for name in self.defect_at), *(ConditionRef(ref, name) for name in self.condition_at)]

    def place(self, name: str) -> int:
        """Where a defect or condition stands."""
        found = self.condition_at.get(name)
        return self.defect_at[name] if found is None else found


@dataclass(frozen=True, slots=True)
class Travel:
    """A propagation rule over a relation source -> target: the places of its cause and effect. down: the cause is the source's.

    follows: the strength, where it depends on traffic. shared: where it depends on how many relations of the kind the source has.
    """

    number: int
    down: bool
    cause: int
    effect: int
    strength: Strength
    follows: Strength | None
    shared: bool

    def fixed(self, share: Float64) -> Float64:
        """The strength as long as nothing is known of a relation, by its share of members: Float64[r]."""
        if not self.shared:
            return np.full(share.size, self.strength.under({}))
        values, which = np.unique(share, return_inverse=True)
        return np.array([self.strength.under({"share_of_members": value}) for value in values.tolist()])[which]


def layouts(knowledge: CausalKnowledge) -> dict[str, Layout]:
    """The layout of each kind."""
    found = {}
    for number, (name, kind) in enumerate(knowledge.kinds.items()):
        overridden = {defect for each in knowledge.overrides if each.selector.kind == name for defect in each.priors}
        found[name] = _layout(number, kind, overridden)
    return found


def prior(per_hour: float) -> float:
    """The prior of a defect by how often it happens an hour."""
    return min(per_hour * PRIOR_HOURS, LARGEST_PRIOR)


def _layout(number: int, kind: KindKnowledge, overridden: AbstractSet[str]) -> Layout:
    defects, conditions = list(kind.defects.values()), list(kind.conditions.values())
    at = {name: place for place, name in enumerate([*kind.defects, *kind.conditions])}
    return Layout(
        number,
        {each.name: place for place, each in enumerate(defects)},
        {each.name: place for place, each in enumerate(conditions, len(defects))},
        np.array([*(prior(each.prior_per_hour) for each in defects), *(each.leak for each in conditions)], np.float64),
        np.arange(len(at)) < len(defects),
        np.array([at[link.cause] for link in kind.links], np.int32),
        np.array([at[link.effect] for link in kind.links], np.int32),
        np.array([link.strength for link in kind.links], np.float64),
        tuple((place, each) for place, each in enumerate(defects) if each.only_with or each.only_without or each.name in overridden),
    )


def travels(knowledge: CausalKnowledge, kinds: Mapping[str, Layout]) -> dict[tuple[str, str, str], tuple[Travel, ...]]:
    """The rules by the kinds of a relation's source, of itself, and of its target."""
    found: dict[tuple[str, str, str], tuple[Travel, ...]] = {}
    for number, rule in enumerate(knowledge.propagation):
        down = rule.toward == Toward.TARGET
        source, target = (rule.from_kind, rule.to_kind) if down else (rule.to_kind, rule.from_kind)
        ends = source, rule.relation, target
        found[ends] = (*found.get(ends, ()), _travel(number, rule, kinds, down=down))
    return found


def _travel(number: int, rule: PropagationRule, kinds: Mapping[str, Layout], *, down: bool) -> Travel:
    cause, effect = kinds[rule.from_kind].place(rule.cause), kinds[rule.to_kind].place(rule.effect)
    follows = rule.strength if rule.strength.needs - {"share_of_members"} else None
    return Travel(number, down, cause, effect, rule.strength, follows, "share_of_members" in rule.strength.needs)


def carried_over(before: Int64 | Int32, sizes: Int64 | Sequence[int]) -> Int32:
    """What each variable was called before, -1 where it is new: Int32[n]. before: the first variable of each cluster then, -1; sizes: of each now."""
    sizes = np.asarray(sizes, np.int64)
    start = np.cumsum(sizes) - sizes
    found = np.repeat(np.where(before >= 0, before - start, 0), sizes) + np.arange(sizes.sum())
    return np.where(np.repeat(before >= 0, sizes), found, -1).astype(np.int32)
