"""Knowledge x live graph -> causal network: a variable for each condition and defect of each entity, a link for each way one causes another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graph.live import LiveGraph
from graph.topology import Relation, RelationKey
from reasoning.cycles import feedback_links
from reasoning.network import CausalNetwork, network_of
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, PropagationRule, Toward
from schema.verdicts import ConditionRef, DefectRef
from schema.windows import Change

HOUR = 3_600_000_000_000
PRIOR_HOURS = 1.0
LARGEST_PRIOR = 0.2

Name = ConditionRef | DefectRef
LiveStrengths = Mapping[RelationKey, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class CompiledNetwork:
    """A network and what its variables stand for. `dropped_links`: feedback links left out to break cycles."""

    network: CausalNetwork
    names: tuple[Name, ...]
    index: Mapping[Name, int]
    links: tuple[tuple[int, int, float], ...]
    dropped_links: tuple[tuple[Name, Name], ...]


@dataclass(frozen=True, slots=True)
class _Link:
    cause: Name
    effect: Name
    strength: float


def compile_network(
    knowledge: CausalKnowledge, graph: LiveGraph, live: LiveStrengths, changes: Sequence[Change] = (), *, skip: frozenset[tuple[Name, Name]] = frozenset()
) -> CompiledNetwork:
    """The network of the whole estate. `changes`: those of the last hour, which raise priors. `skip`: links that hard constraints forbid.

    Feedback links are left out (reasoning.cycles).
    """
    probabilities: dict[Name, float] = {}
    links: list[_Link] = []
    raised = _raised(graph, changes)
    for entity in graph.entities():
        kind = knowledge.kinds.get(entity.ref.kind)
        if kind is None:
            continue
        for defect in kind.defects.values():
            factor = max((defect.raised_by.get(change, 1.0) ** weight for change, weight in raised.get(entity.ref, ())), default=1.0)
            probabilities[DefectRef(entity.ref, defect.name)] = min(defect.prior_per_hour * PRIOR_HOURS * factor, LARGEST_PRIOR)
        for condition in kind.conditions.values():
            probabilities[ConditionRef(entity.ref, condition.name)] = condition.leak
        for link in kind.links:
            cause: Name = DefectRef(entity.ref, link.cause) if link.cause in kind.defects else ConditionRef(entity.ref, link.cause)
            links.append(_Link(cause, ConditionRef(entity.ref, link.effect), link.strength))
    links.extend(_propagated(knowledge, graph, live))
    kept = [link for link in links if (link.cause, link.effect) not in skip and link.strength > 0.0]
    return _arrange(probabilities, _merged(kept))


def _raised(graph: LiveGraph, changes: Sequence[Change]) -> dict[EntityRef, list[tuple[str, float]]]:
    """Changes that touch an entity: its own, and those of its service, pods and containers, fading over an hour."""
    found: dict[EntityRef, list[tuple[str, float]]] = {}
    for change in changes:
        weight = math.exp(-max(graph.at - change.time, 0) / HOUR)
        ref = graph.ref(change.entity)
        service = graph.service_of(ref)
        for each in {ref, service} - {None}:
            assert each is not None
            found.setdefault(each, []).append((change.kind.value, weight))
            for relation in graph.relations(target=each, kind="part_of"):
                found.setdefault(relation.key.source, []).append((change.kind.value, weight))
    return found


def _propagated(knowledge: CausalKnowledge, graph: LiveGraph, live: LiveStrengths) -> Iterator[_Link]:
    rules: dict[str, list[PropagationRule]] = {}
    for rule in knowledge.propagation:
        rules.setdefault(rule.relation, []).append(rule)
    relations = graph.relations()
    members: dict[tuple[EntityRef, str], int] = {}
    for relation in relations:
        members[relation.key.source, relation.key.kind] = members.get((relation.key.source, relation.key.kind), 0) + 1
    for relation in relations:
        for rule in rules.get(relation.key.kind, ()):
            link = _apply(rule, relation, live, members, knowledge)
            if link is not None:
                yield link


def _apply(
    rule: PropagationRule, relation: Relation, live: LiveStrengths, members: Mapping[tuple[EntityRef, str], int], knowledge: CausalKnowledge
) -> _Link | None:
    key = relation.key
    from_ref, to_ref = (key.target, key.source) if rule.toward == Toward.SOURCE else (key.source, key.target)
    if (from_ref.kind, to_ref.kind) != (rule.from_kind, rule.to_kind):
        return None
    known = {**live.get(key, {}), "share_of_members": 1.0 / members[key.source, key.kind]}
    strength = rule.strength.under(known) * relation.confidence
    cause: Name = DefectRef(from_ref, rule.cause) if rule.cause in knowledge.kinds[rule.from_kind].defects else ConditionRef(from_ref, rule.cause)
    return _Link(cause, ConditionRef(to_ref, rule.effect), strength)


def _merged(links: Sequence[_Link]) -> list[_Link]:
    """Parallel links become one by noisy-OR."""
    silence: dict[tuple[Name, Name], float] = {}
    for link in links:
        silence[link.cause, link.effect] = silence.get((link.cause, link.effect), 1.0) * (1.0 - link.strength)
    return [_Link(cause, effect, 1.0 - rest) for (cause, effect), rest in silence.items()]


def _arrange(probabilities: Mapping[Name, float], links: Sequence[_Link]) -> CompiledNetwork:
    names = tuple(sorted(probabilities, key=_text))
    index = {name: place for place, name in enumerate(names)}
    cause = np.array([index[link.cause] for link in links], np.int32)
    effect = np.array([index[link.effect] for link in links], np.int32)
    strength = np.array([link.strength for link in links], np.float64)
    dropped = feedback_links(len(names), cause, effect, strength)
    kept = ~dropped
    clusters = {ref: number for number, ref in enumerate(dict.fromkeys(name.entity for name in names))}
    network = network_of(
        np.array([probabilities[name] for name in names], np.float64),
        cause[kept],
        effect[kept],
        strength[kept],
        np.array([clusters[name.entity] for name in names], np.int32),
        np.array([isinstance(name, DefectRef) for name in names], np.bool_),
    )
    left_out = tuple((names[cause[place]], names[effect[place]]) for place in np.flatnonzero(dropped).tolist())
    triples = tuple(zip(network.parent.tolist(), network.effect.tolist(), network.strength.tolist(), strict=True))
    return CompiledNetwork(network, names, index, triples, left_out)


def _text(name: Name) -> str:
    return f"{name.entity} {name.condition if isinstance(name, ConditionRef) else name.defect}"
