"""Which attributes an entity has and how they depend on others: the causal rules of conditions, told of the attributes that these are read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from graph.attributes import Dependency, EntityAttributes, Quantity, RelationDependencies
from graph.topology import RelationKey
from schema.attributes import ATTRIBUTES
from schema.detectors import READS
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, ConditionRule, KindKnowledge, PropagationRule, Strength, Toward

Rule = tuple[str, str, float, str]  # cause and effect, conditions; strength; what it follows
Ends = tuple[str, str, str]  # kinds of source, relation and target


class AttributeModel:
    """Of one knowledge. What it tells depends on kinds alone, so all who know the same tell the same."""

    def __init__(self, knowledge: CausalKnowledge) -> None:
        self._names = {kind.kind: {name: _quantity(rule).name for name, rule in kind.conditions.items()} for kind in knowledge.kinds.values()}
        self._quantities = {kind.kind: _quantities(kind) for kind in knowledge.kinds.values()}
        self._within = {kind.kind: self._dependencies(kind.kind, kind.kind, _links(kind), within=True) for kind in knowledge.kinds.values()}
        self._over = self._travelling(knowledge.propagation)

    def of_entity(self, ref: EntityRef) -> EntityAttributes | None:
        """None where nothing is known of the kind."""
        quantities = self._quantities.get(ref.kind)
        return EntityAttributes(ref, quantities, self._within[ref.kind]) if quantities else None

    def of_relation(self, key: RelationKey) -> RelationDependencies | None:
        """None where nothing travels along such a relation."""
        found = self._over.get((key.source.kind, key.kind, key.target.kind))
        return None if found is None or key.source == key.target else RelationDependencies(key, *found)

    def _travelling(self, rules: Iterable[PropagationRule]) -> Mapping[Ends, tuple[tuple[Dependency, ...], tuple[Dependency, ...]]]:
        grouped: dict[Ends, tuple[list[Rule], list[Rule]]] = {}
        for rule in rules:
            down = rule.toward == Toward.TARGET
            ends = (rule.from_kind, rule.relation, rule.to_kind) if down else (rule.to_kind, rule.relation, rule.from_kind)
            grouped.setdefault(ends, ([], []))[down].append((rule.cause, rule.effect, rule.strength.under({}), _followed(rule.strength)))
        found = {
            ends: (self._dependencies(ends[2], ends[0], of_source), self._dependencies(ends[0], ends[2], of_target))
            for ends, (of_source, of_target) in grouped.items()
        }
        return {ends: both for ends, both in found.items() if any(both)}

    def _dependencies(self, causes: str, effects: str, rules: Iterable[Rule], *, within: bool = False) -> tuple[Dependency, ...]:
        """`causes`, `effects`: the kinds of entity. A defect is no attribute, and an attribute does not depend on itself."""
        found: dict[tuple[str, str], list[Rule]] = {}
        for rule in rules:
            cause, effect = self._names[causes].get(rule[0]), self._names[effects].get(rule[1])
            if cause is not None and effect is not None and not (within and cause == effect):
                found.setdefault((effect, cause), []).append(rule)
        return tuple(Dependency(effect, cause, max(rule[2] for rule in of), tuple(sorted(map(_told, of)))) for (effect, cause), of in sorted(found.items()))


def _quantity(rule: ConditionRule) -> Quantity:
    """The attribute that a condition is read from; one that nothing shows is an attribute by itself."""
    if rule.detector in READS:
        name, unit = READS[rule.detector]
        return Quantity(name, unit, measured=True, conditions=(rule.name,))
    if rule.detector:
        return Quantity(rule.attribute, ATTRIBUTES[rule.attribute].unit, measured=True, conditions=(rule.name,))
    return Quantity(rule.name, "", measured=False, conditions=(rule.name,))


def _quantities(kind: KindKnowledge) -> tuple[Quantity, ...]:
    named: dict[str, list[Quantity]] = {}
    for rule in kind.conditions.values():
        quantity = _quantity(rule)
        named.setdefault(quantity.name, []).append(quantity)
    return tuple(reduce(_joined, named[name]) for name in sorted(named))


def _joined(one: Quantity, other: Quantity) -> Quantity:
    return Quantity(one.name, one.unit or other.unit, one.measured or other.measured, tuple(sorted({*one.conditions, *other.conditions})))


def _links(kind: KindKnowledge) -> list[Rule]:
    return [(link.cause, link.effect, link.strength, "") for link in kind.links]


def _followed(strength: Strength) -> str:
    return strength.text if strength.needs else ""


def _told(rule: Rule) -> str:
    cause, effect, _, follows = rule
    return f"{cause} -> {effect}: {follows}" if follows else f"{cause} -> {effect}"
